"""What docs/stating.md says is run as it is printed, and means what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT
from helpers import invoke

from scope_opt.model.generate import network_named, paper_instance
from scope_opt.model.network import Network
from scope_opt.model.tables import PARTITIONS
from scope_opt.schedule.evaluate import evaluate
from scope_opt.schedule.schedule import InstanceReference, Schedule, make_segment
from scope_opt.solving.api import solve

PAGE = (ROOT / "docs" / "stating.md").read_text()
BLOCKS = [
    (match["kind"], match["content"])
    for match in re.finditer(r"```(?P<kind>sh|python)\n(?P<content>.*?)```", PAGE, re.DOTALL)
]
SAID = {0: "optimal", 1: "optimal beat 2000 ps", 2: "by trying all cuts"}


@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_block(index: int, tmp_path: Path) -> None:
    kind, content = BLOCKS[index]
    tools = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": os.pathsep.join([tools, os.environ["PATH"]])}
    command = ["sh", "-ec", content] if kind == "sh" else [sys.executable, "-c", content]
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, (ran.stdout, ran.stderr)
    assert SAID[index] in ran.stdout


def test_networks_together_take_the_sum_if_no_segment_has_layers_of_both() -> None:
    alone = paper_instance("alexnet", 16)
    network = Network.together("two", [network_named("alexnet")] * 2)
    both = paper_instance(network, 16)
    best = solve(alone)
    assert best.schedule is not None
    assert best.objective_ps is not None
    again = [
        make_segment(
            segment.first_layer + 8,
            [
                (
                    cluster.last_layer - cluster.first_layer + 1,
                    cluster.chiplets,
                    [PARTITIONS.index(partition) for partition in cluster.partitions],
                )
                for cluster in segment.clusters
            ],
        )
        for segment in best.schedule.segments
    ]
    segments = (*best.schedule.segments, *again)
    schedule = Schedule(instance=InstanceReference.to(both), segments=segments)
    assert evaluate(both, schedule).objective_ps == 2 * best.objective_ps
    assert [layer.name for layer in network.layers][7:9] == ["alexnet.fc8", "alexnet-2.conv1"]
    optimum = solve(both)
    assert optimum.objective_ps is not None
    assert optimum.objective_ps <= 2 * best.objective_ps


def test_messages_say_how_to_state_it(tmp_path: Path) -> None:
    layer = {
        "name": "up",
        **{"in_channels": 64, "out_channels": 32, "input_height": 28, "input_width": 28},
        **{"output_height": 56, "output_width": 56, "kernel_height": 2, "kernel_width": 2},
        **{
            "stride": 2,
            "groups": 1,
            "weight_bytes": 8192,
            "input_bytes": 50176,
            "output_bytes": 100352,
        },
    }
    network = {"name": "up", "layers": [layer], "edges": []}
    file = tmp_path / "net.json"
    file.write_text(json.dumps({"format": "scope-network/1", "network": network}))
    run = invoke("show", file)
    assert run.exit_code == 2
    assert "transposed convolution is stated as" in " ".join(run.output.split())
