"""Validations of heuristics as text for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from scope_opt.model import units
from scope_opt.model.package import order_name
from scope_opt.solving.metrics import summary
from scope_opt.terminal.show import DIM, GOOD, facts, title

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from scope_opt.model.instance import Instance
    from scope_opt.solving.result import Result
    from scope_opt.terminal.show import Fact
    from scope_opt.validation.document import Gap, Place, Rank, Validation


def validation_view(found: Validation, instance: Instance | None) -> RenderableType:
    """A validation in three parts: the gap, the rank, and what each decision loses."""
    description = instance.description if instance is not None else ""
    parts: list[RenderableType] = [
        title(found.instance.name, description),
        Text(),
        facts(_gap_facts(found)),
        Text(),
        title("Among the schedules of one segment that use every chiplet"),
    ]
    parts.append(_absent(found.no_rank) if found.rank is None else facts(_rank_facts(found)))
    parts += [Text(), title("What each decision loses")]
    parts.append(_absent(found.no_losses) if found.losses is None else facts(_loss_facts(found)))
    return Group(*parts)


def _absent(reason: str | None) -> Text:
    return Text(f"  none: {units.plain(reason or '')}", style=DIM, overflow="fold")


def _gap_facts(found: Validation) -> Iterator[Fact]:
    run = found.runs[0]
    seed = run.options.get("seed")
    which = f", seed {seed}" if seed is not None else ""
    yield "solver", units.plain(found.solver + which), f"in {units.seconds(run.times_s.total)}"
    yield "latency", units.picoseconds(run.objective_ps), _shape(run)
    if run.schedule is not None and run.schedule.order is not None:
        best = None if found.exact is None else found.exact.schedule
        remark = "" if best is None or best.order is None else f"optimum: {order_name(best.order)}"
        yield "order", order_name(run.schedule.order), remark
    known = found.optimum
    if known.kind in ("opt", "opt1"):
        proved = f"proved by {' and '.join(known.methods)}"
        yield "optimum", units.picoseconds(known.objective_ps), proved
        yield "gap", _gap(found.gaps[0]), "latency / optimum - 1"
    elif known.kind == "inf":
        proved = f"there is no schedule: proved by {' and '.join(known.methods)}"
        yield "optimum", units.ABSENT, proved
    else:
        if found.exact is None:
            names = dict.fromkeys([found.solver, *(result.solver for result in found.others)])
            ended = f"exact cannot prove it here; the best of {', '.join(names)}"
        else:
            ended = f"exact did not prove it: {found.exact.stop_reason.replace('_', ' ')}"
        low, high = units.picoseconds(known.bound_ps), units.picoseconds(known.objective_ps)
        yield "optimum", f"{low} to {high}", ended
        yield "gap", _gap(found.gaps[0]), "latency / best known - 1 to latency / lower bound - 1"
    if len(found.runs) > 1:
        gaps = summary(None if gap is None else gap.at_most for gap in found.gaps)
        spread = " / ".join(_percent(gap) for gap in (gaps.best, gaps.median, gaps.worst))
        remark = f"least / median / largest of {gaps.count} seeds"
        if gaps.missing:
            remark += f"; {gaps.missing} without a number"
        if known.kind not in ("opt", "opt1"):
            remark += "; against the lower bound"
        yield "gap over seeds", spread, remark
        times = [run.times_s.total for run in found.runs]
        yield "time over seeds", f"{units.seconds(min(times))} to {units.seconds(max(times))}", ""


def _gap(gap: Gap | None) -> str | Text:
    if gap is None:
        return units.ABSENT
    if gap.at_least == gap.at_most:
        text = _percent(gap.at_most)
        return Text(text, style=GOOD) if gap.at_most == 0 else text
    return f"{_percent(gap.at_least)} to {_percent(gap.at_most)}"


def _shape(run: Result) -> str:
    if run.schedule is None:
        return units.plain("; ".join(run.explanation)) or "no schedule found"
    segments, clusters = len(run.schedule.segments), len(list(run.schedule.clusters))
    return f"{units.plural(segments, 'segment')}, {units.plural(clusters, 'cluster')}"


def _rank_facts(found: Validation) -> Iterator[Fact]:
    rank = found.rank
    assert rank is not None
    ranked = "its schedule, which has one segment"
    if found.one_segment is not None:
        ranked = "its schedule for --segments single, as the one above has several segments"
    yield "ranked", units.picoseconds(rank.latency_ps), ranked
    size = rank.schedules
    shown = f"{size:,}" if size is not None and size < 10**15 else f"10^{rank.log10_schedules:.2f}"
    yield "schedules", shown, "valid or not (Eq. 8 and 9 of the paper)"
    every, valid = rank.among_all, rank.among_valid
    keep = "keep capacity and side constraints"
    if rank.method == "enumeration":
        share = _percent(valid.counted / every.counted)
        yield "valid", f"{valid.counted:,}", f"{share} {keep}"
    elif rank.log10_valid is not None:
        share = _percent(10 ** (rank.log10_valid - rank.log10_schedules))
        yield "valid", f"10^{rank.log10_valid:.2f}", f"{share} {keep}"
    certainty = "every schedule was counted"
    if rank.confidence is not None:
        yield "drawn", f"{every.counted:,}", f"uniformly and independently, seed {rank.seed}"
        certainty = f"with {100 * rank.confidence:g}% confidence"
    yield "among all", _place(every, rank), f"{certainty}: {_counts(every)}"
    yield "among valid", _place(valid, rank), f"{certainty}: {_counts(valid)}"


def _place(place: Place, rank: Rank) -> str:
    if place.better_share_at_most is None:
        return units.ABSENT
    share = _percent(place.better_share_at_most)
    return f"at most {share} better" if rank.method == "sampling" else f"{share} better"


def _counts(place: Place) -> str:
    return f"{place.better:,} better and {place.equal:,} equal of {place.counted:,}"


def _loss_facts(found: Validation) -> Iterator[Fact]:
    losses = found.losses
    assert losses is not None
    yield "partitions", _percent(losses.partitions), "with its segments, clusters and regions"
    yield "regions", _percent(losses.regions), "with its segments and clusters"
    yield "clusters", _percent(losses.clusters), "with its segments"
    yield "segments", _percent(losses.segments), "the rest; these four add up to the gap"
    remark = "one switch from WSP to ISP per segment, against free partitions"
    yield "one transition", _percent(losses.transition), remark
    if losses.open:
        remark = "by so much each may be wrong: links leave open what is optimal"
        yield "open", _percent(losses.open), remark


def _percent(share: float | None) -> str:
    """Percentage with three significant digits, as ranks can be small."""
    return units.ABSENT if share is None else f"{100 * share:.3g}%"
