"""Map neural networks onto multi-chip-module (chiplet) accelerators, with certificates.

What is listed here is the public interface; everything else may move. Importing it is cheap: a name
loads what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scope_opt.importing.onnx import import_onnx as import_onnx
    from scope_opt.model.files import InputError as InputError
    from scope_opt.model.instance import Instance as Instance
    from scope_opt.model.network import Network as Network
    from scope_opt.model.package import Package as Package
    from scope_opt.model.parts import combine as combine
    from scope_opt.model.presets import new_package as new_package
    from scope_opt.model.tables import LatencyTables as LatencyTables
    from scope_opt.model.transformers import transformer as transformer
    from scope_opt.schedule.evaluate import evaluate as evaluate
    from scope_opt.schedule.evaluation import Evaluation as Evaluation
    from scope_opt.schedule.schedule import InstanceReference as InstanceReference
    from scope_opt.schedule.schedule import Schedule as Schedule
    from scope_opt.schedule.schedule import make_segment as make_segment
    from scope_opt.solving.api import load as load
    from scope_opt.solving.api import solve as solve
    from scope_opt.solving.monitor import Monitor as Monitor
    from scope_opt.solving.result import Result as Result
    from scope_opt.solving.solver import SolveOptions as SolveOptions
    from scope_opt.solving.solver import Solver as Solver
    from scope_opt.terminal.console import progress as progress

__version__ = "0.1.0"

_HOME = {
    "Evaluation": "scope_opt.schedule.evaluate",
    "InputError": "scope_opt.model.files",
    "Instance": "scope_opt.model.instance",
    "InstanceReference": "scope_opt.schedule.schedule",
    "LatencyTables": "scope_opt.model.tables",
    "Monitor": "scope_opt.solving.monitor",
    "Network": "scope_opt.model.network",
    "Package": "scope_opt.model.package",
    "Result": "scope_opt.solving.result",
    "Schedule": "scope_opt.schedule.schedule",
    "SolveOptions": "scope_opt.solving.solver",
    "Solver": "scope_opt.solving.solver",
    "combine": "scope_opt.model.parts",
    "evaluate": "scope_opt.schedule.evaluate",
    "import_onnx": "scope_opt.importing.onnx",
    "load": "scope_opt.solving.api",
    "make_segment": "scope_opt.schedule.schedule",
    "new_package": "scope_opt.model.presets",
    "progress": "scope_opt.terminal.console",
    "solve": "scope_opt.solving.api",
    "transformer": "scope_opt.model.transformers",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_HOME, "__version__"])
