"""Why numbers, or their intervals, are refused: one sentence for each reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from wattest.records import result_of
from wattest.report.facts import difference, differing, text_at, title
from wattest.report.model import Estimate
from wattest.report.runs import NAMES, SEED, Pair, Run
from wattest.report.statistics import counted

RANDOMIZED = "randomized_blocks"
_OPENED_AT = ("energy_provenance", "window", "opened_at")


def order_fault(runs: Sequence[Run]) -> str | None:
    """Return why the order in which runs ran allows no interval; None where it was random."""
    for run in runs:
        if run.order is None:
            return "records do not tell the order of the runs: points only"
        if run.order != RANDOMIZED:
            shown = run.order.replace("_", " ")
            return f"the order was {shown}, so time and effect cannot be told apart: points only"
    if sessions := ran_out_of_plan(runs):
        return f"session {sessions[0]} ran out of its planned order: points only"
    return None


def ran_out_of_plan(runs: Sequence[Run]) -> list[str]:
    """Return the sessions whose runs did not run in the order of their plan.

    Where several GPUs were measured at once, each has an order of its own.
    """
    lanes: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.position is not None:
            lanes.setdefault((run.session_id, run.facts.get("gpu", "")), []).append(run)
    return sorted({session for (session, _), lane in lanes.items() if not _is_in_order(lane)})


def _is_in_order(lane: Sequence[Run]) -> bool:
    """Tell whether runs opened in the order of their positions.

    By the clock that keeps no summer time, where each of them tells a time of its own.
    """
    opened = {text_at(result_of(run.record), *_OPENED_AT): run for run in lane}
    is_told = len(opened) == len(lane) and None not in opened
    times = [one or "" for one in opened] if is_told else [run.timestamp for run in lane]
    ordered = sorted(zip(times, (run.position or 0 for run in lane), strict=True))
    return all(one[1] <= two[1] for one, two in pairwise(ordered))


def pairs_refusal(pairs: Sequence[Pair], across: frozenset[str]) -> str | None:
    """Return in which fact pairs differ from each other, undeclared.

    The ratio of a pair is of one card in one host, so these may differ from pair to pair.
    """
    halves = [half for pair in pairs for half in (pair.loaded, pair.alone)]
    return _undeclared(halves, across | {"gpu", "host"}, across)


def runs_refusal(runs: Sequence[Run], across: frozenset[str]) -> str | None:
    """Return in which fact runs differ, undeclared.

    A host alone is none: a container has another name for it every time.
    """
    return _undeclared(runs, across | {"host"}, across)


def _undeclared(runs: Sequence[Run], allowed: frozenset[str], across: frozenset[str]) -> str | None:
    found = difference(runs, allowed)
    if found is None:
        return None
    word = next(name for name in NAMES if found.startswith(NAMES[name]))
    return f"{found}; refused, unless it is declared: --across {','.join(sorted({*across, word}))}"


def points_only(runs: Sequence[Run], across: frozenset[str]) -> str | None:
    """Return why all that is made of these runs has no interval, if so."""
    if declared := differing(runs, sorted(across)):
        told = " and ".join(title(name) for name in declared)
        return f"{told} differs, as declared with --across: points only"
    return order_fault(runs)


def campaigns_fault(runs: Iterable[Run]) -> str | None:
    """Return why absolute numbers of these runs are not of one campaign, if so."""
    plans = {run.plan_digest: run.session_id for run in runs}
    if len(plans) < 2:
        return None
    told = ", ".join(sorted(plans.values())[:3])
    return (
        f"runs of {counted(len(plans), 'campaigns')} (sessions {told}), each of which moves all by"
        " a factor of its own: points only; choose one with --session"
    )


def refused(estimate: Estimate, reason: str) -> Estimate:
    """Return an estimate without any number."""
    return Estimate(None, n=estimate.n, unit=estimate.unit, kind=estimate.kind, reason=reason)


def without_interval(estimate: Estimate, reason: str | None) -> Estimate:
    """Return an estimate as a point, where there is a reason for that."""
    if reason is None or not estimate.has_interval:
        return estimate
    return replace(
        estimate, low=None, high=None, smallest=None, equivalence=None, p_value=None, reason=reason
    )


def seed_note(runs: Iterable[Run]) -> str | None:
    """Return for which seed alone a metric stands, where every training had the same one."""
    seeds = {run.hyperparameters[SEED] for run in runs if SEED in run.hyperparameters}
    return f"for seed {seeds.pop():g} only" if len(seeds) == 1 else None
