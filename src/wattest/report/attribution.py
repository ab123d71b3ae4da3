"""Whose energy? Several defensible answers, each with its interval over blocks, or a refusal.

Counters are machine-wide: together training and load use E_AB joules in T seconds. The training
alone uses E_A in T_A, the load alone P_B watts, the idle machine P_0. τ is the work that the load
did in the window, as seconds of the load running alone. Then

* extra at the same time is E_AB - P_B·T,
* extra for the same work is E_AB - P_B·τ,
* Shapley above idle is ½[(E_A - P_0·T_A) + (E_AB - P_B·τ - P_0·(T - τ))]: the mean of what the
  training adds to the idle machine and to the loaded one (L. S. Shapley, "A value for n-person
  games", 1953). The load's own is made the same way; both and idle, P_0·T, are E_AB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from wattest.records import result_of
from wattest.report.arms import (
    PARTS,
    Refused,
    Unit,
    alone_of,
    has,
    idle_watts,
    joules,
    load_watts,
    require_shares,
    seconds_of,
    work_seconds,
)
from wattest.report.facts import at, difference
from wattest.report.model import Attributed, Attribution, Estimate
from wattest.report.runs import Run
from wattest.report.statistics import paired
from wattest.report.studies import label_of

MOST_HALF_WIDTH = 0.5
"""Half width of an interval, as a share of its value, above which there is no answer."""
TITLES = {
    "combined": "combined: training and load together",
    "alone": "the training alone, without the load",
    "extra_same_time": "extra at the same time",
    "extra_same_work": "extra for the same work of the load",
    "shapley": "Shapley share of the training, above idle",
    "shapley_load": "Shapley share of the load, above idle",
    "idle": "idle machine over the window",
    "cpu_time_share": "~ share by CPU time (a model)",
}


def attribute(runs: Sequence[Run], model: bool = False) -> tuple[Attribution, ...]:
    """Return the attribution of every configuration that ran under a load.

    Args:
        runs: Of all arms; those that do not count are in no number.
        model: Also give the share by CPU time, which is a model and no measurement.
    """
    groups: dict[tuple[str, str, str], list[Unit]] = {}
    for unit in _units([run for run in runs if run.is_valid]):
        run = unit.loaded
        place = (run.program, run.load or "", run.configuration)
        groups.setdefault(place, []).append(unit)
    if not any(unit.alone or unit.load for units in groups.values() for unit in units):
        return ()
    return tuple(
        Attribution(
            program,
            load,
            label_of(units[0].loaded),
            domain,
            len(units),
            tuple(_rows(units, domain, model)),
        )
        for (program, load, _), units in groups.items()
        for domain, parts in PARTS.items()
        # A sum of both needs both in every run; of one, blocks without it are left out.
        if (all if len(parts) > 1 else any)(has(unit.loaded, domain) for unit in units)
    )


def _units(runs: Sequence[Run]) -> Iterator[Unit]:
    """Yield every block of a plan with all arms that count.

    What a session lacks is of the session that completed it; one that has a block of its own
    lends none of it.
    """
    loaded = {(run.plan_digest, run.test_id, run.session_id): run
              for run in runs if run.arm == "parallel"}  # fmt: skip
    others: dict[tuple[str, str | None, str | None, str], Run] = {}
    for run in runs:
        if run.arm != "parallel":
            place = run.plan_digest, run.partner
            owner = run.session_id if (*place, run.session_id) in loaded else None
            others[(*place, owner, run.arm)] = run
    for (digest, name, session), run in loaded.items():
        arms = [
            others.get((digest, name, session, arm)) or others.get((digest, name, None, arm))
            for arm in ("alone", "load")
        ]
        yield Unit(run, *arms)


def _rows(units: Sequence[Unit], domain: str, model: bool) -> Iterator[Attributed]:
    for key, formula in _FORMULAS.items():
        if key != "cpu_time_share" or (model and domain == "cpu_energy"):
            yield _row(key, [_value(formula, unit, domain) for unit in units])


def _value(formula: Any, unit: Unit, domain: str) -> float | str:
    try:
        arms = [one for one in (unit.loaded, unit.alone, unit.load) if one is not None]
        if (reason := difference(arms)) is not None:
            raise Refused(reason)
        return float(formula(unit, domain))
    except Refused as error:
        return str(error)


def _row(key: str, found: Sequence[float | str]) -> Attributed:
    values = tuple(one for one in found if isinstance(one, float))
    reasons = list(dict.fromkeys(one for one in found if isinstance(one, str)))
    if not values:
        return Attributed(
            key, TITLES[key], Estimate(None, kind="difference", reason="; ".join(reasons))
        )
    estimate = replace(paired(values, "difference", "blocks"), p_value=None, smallest=None)
    if reasons:
        left = f"{len(found) - len(values)} of {len(found)} blocks left out: {'; '.join(reasons)}"
        estimate = replace(estimate, note=left)
    if estimate.low is not None and estimate.high is not None and estimate.value is not None:
        half = (estimate.high - estimate.low) / 2
        if half > MOST_HALF_WIDTH * abs(estimate.value):
            reason = f"±{half:.4g} J is more than half of {estimate.value:.4g} J: not known"
            estimate = replace(estimate, value=None, low=None, high=None, reason=reason)
    return Attributed(key, TITLES[key], estimate, values)


def _combined(unit: Unit, domain: str) -> float:
    return joules(unit.loaded, domain)


def _alone(unit: Unit, domain: str) -> float:
    return joules(alone_of(unit), domain)


def _extra_same_time(unit: Unit, domain: str) -> float:
    return _combined(unit, domain) - load_watts(unit, domain) * seconds_of(unit.loaded)


def _extra_same_work(unit: Unit, domain: str) -> float:
    return _combined(unit, domain) - load_watts(unit, domain) * work_seconds(unit)


def _shapley(unit: Unit, domain: str) -> float:
    require_shares(unit)
    idle, seconds, work = idle_watts(unit, domain), seconds_of(unit.loaded), work_seconds(unit)
    alone = alone_of(unit)
    first = joules(alone, domain) - idle * seconds_of(alone)
    second = _extra_same_work(unit, domain) - idle * (seconds - work)
    return (first + second) / 2


def _shapley_load(unit: Unit, domain: str) -> float:
    return _combined(unit, domain) - _shapley(unit, domain) - _idle(unit, domain)


def _idle(unit: Unit, domain: str) -> float:
    return idle_watts(unit, domain) * seconds_of(unit.loaded)


def _cpu_time_share(unit: Unit, domain: str) -> float:
    require_shares(unit)
    use = result_of(unit.loaded.record).get("cpu_use")
    own, other = (at(use, f"{name}_seconds") for name in ("foreground", "background"))
    if not (isinstance(own, (int, float)) and isinstance(other, (int, float)) and own + other > 0):
        raise Refused("the CPU time of training and load is not known")
    return own / (own + other) * (_combined(unit, domain) - _idle(unit, domain))


_FORMULAS = {
    "combined": _combined,
    "alone": _alone,
    "extra_same_time": _extra_same_time,
    "extra_same_work": _extra_same_work,
    "shapley": _shapley,
    "shapley_load": _shapley_load,
    "idle": _idle,
    "cpu_time_share": _cpu_time_share,
}
