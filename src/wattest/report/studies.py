"""Which runs belong together: programs with their loads, and pairs; and what is known of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from wattest.report.facts import difference
from wattest.report.runs import SEED, Arm, Better, LeftOut, Pair, Quantity, Run

Groups = dict[str, list[Run]]


@dataclass(frozen=True)
class Options:
    """What the reader asked for.

    Attributes:
        metric: The one to be shown first.
        better: Metric to the way that is better; before what the registry says.
        margin: Of equivalence, as a share of 1.
        across: Facts that are declared to differ.
    """

    metric: str | None = None
    better: Mapping[str, Better] = field(default_factory=dict)
    margin: float | None = None
    across: frozenset[str] = frozenset()
    p_values: bool = False


@dataclass(frozen=True)
class Material:
    """What one study is made of: all runs of a program, alone and under one load, and its pairs."""

    program: str
    load: str | None
    runs: tuple[Run, ...]
    pairs: tuple[Pair, ...]

    def of_arm(self, arm: Arm) -> list[Run]:
        """Return the runs that count of one arm."""
        return [run for run in self.runs if run.arm == arm and run.is_valid]


def materials(runs: Sequence[Run], pairs: Sequence[Pair]) -> list[Material]:
    """Return the material of every study, in the order in which they began.

    Where a program ran under several loads, what ran alone goes with the load of its partner; what
    had none goes by itself. A load that ran alone is no program of its own, and goes with its load.
    """
    loads: dict[str, dict[str, None]] = {}
    for run in runs:
        if run.arm == "load":
            continue
        found = loads.setdefault(run.program, {})
        if run.arm == "parallel" and run.load is not None:
            found[run.load] = None
    partners = {pair.alone.path: pair.loaded.load for pair in pairs}
    made = []
    for program, names in loads.items():
        every: list[str | None] = [*names] or [None]
        for load in every:
            own = [one for one in runs if _is_of(one, program, load)]
            if len(names) > 1:
                own = [one for one in own if load in (one.load, partners.get(one.path))]
            made.append(_material(program, load, own, pairs))
        rest = [one for one in runs if one.program == program and one.arm == "alone"]
        rest = [one for one in rest if one.path not in partners]
        if len(names) > 1 and rest:
            made.append(_material(program, None, rest, ()))
    return made


def _is_of(run: Run, program: str, load: str | None) -> bool:
    if run.arm == "load":
        return load is not None and run.load == load
    return run.program == program


def _material(
    program: str, load: str | None, runs: Iterable[Run], pairs: Iterable[Pair]
) -> Material:
    own = tuple(runs)
    paths = {run.path for run in own}
    return Material(program, load, own, tuple(one for one in pairs if one.loaded.path in paths))


def pairs_of(
    runs: Sequence[Run], across: Iterable[str] = ()
) -> tuple[tuple[Pair, ...], tuple[LeftOut, ...]]:
    """Return the pairs that count, and those that do not.

    Both halves are of one session, count, and agree in every fact that is not declared to differ.
    """
    kept: list[Pair] = []
    left = list(_repeated(runs))
    known = {(run.session_id, run.test_id): run for run in _best_last(runs)}
    for loaded, alone, name in _candidates(known):
        half = loaded or alone
        assert half is not None
        if loaded is None or alone is None:
            place = half.plan_digest, name
            elsewhere = any((run.plan_digest, run.test_id) == place for run in runs if run.is_valid)
            why = "is of another session" if elsewhere else "is missing"
            left.append(LeftOut(half.test_id, f"its other half, {name}, {why}"))
        elif reason := _no_pair(loaded, alone, across):
            left.append(LeftOut(loaded.test_id, reason))
        else:
            kept.append(Pair(loaded, alone))
    return tuple(kept), tuple(left)


def _repeated(runs: Iterable[Run]) -> Iterator[LeftOut]:
    """Yield what ran several times in one session, where its other half cannot be told."""
    times = Counter((run.session_id, run.test_id) for run in runs if run.partner)
    for (session, name), count in times.items():
        if count > 1:
            why = f"ran {count} times in session {session}: only the last that counts is paired"
            yield LeftOut(name, why)


def _best_last(runs: Iterable[Run]) -> list[Run]:
    """Return the runs so that, of several of one test, the last one that counts comes last."""
    return sorted(runs, key=lambda run: (run.is_valid, run.timestamp))


def _candidates(
    known: Mapping[tuple[str, str], Run],
) -> Iterator[tuple[Run | None, Run | None, str]]:
    """Yield (loaded, alone, name of the half that is not there)."""
    ordered = sorted(known.items(), key=lambda item: (item[1].timestamp, item[0]))
    for (session, name), run in ordered:
        other = known.get((session, run.partner)) if run.partner else None
        if run.partner is None or run.arm == "load":
            continue
        if run.arm == "alone":
            yield other, run, run.partner
        elif other is None and not any(
            one.partner == name and one.arm == "alone" and one.session_id == session
            for one in known.values()
        ):
            yield run, None, run.partner


def _no_pair(loaded: Run, alone: Run, across: Iterable[str]) -> str | None:
    for half in (loaded, alone):
        if not half.is_valid:
            return f"{half.test_id} is invalid: {'; '.join(half.reasons)}"
    if loaded.arm != "parallel":
        return f"{loaded.test_id} ran without a load"
    return difference((loaded, alone), across)


def quantities(runs: Sequence[Run], better: Mapping[str, Better]) -> tuple[Quantity, ...]:
    """Return what is known of runs that count: duration, energies, then metrics.

    Both energies together are one only where every run has both. The energy of CPUs is an estimate
    where no run has measured it, and some have estimated it.
    """
    found = {key for run in runs for key in run.amounts}
    guessed = any(run.estimated_cpu_joules is not None for run in runs)
    has_cpu = "cpu_energy" in found
    told = [Quantity("duration", "duration", "s")] if "duration" in found else []
    if runs and all({"cpu_energy", "gpu_energy"} <= run.amounts.keys() for run in runs):
        told.append(Quantity("energy", "CPU + GPU energy", "J"))
    if "gpu_energy" in found:
        told.append(Quantity("gpu_energy", "GPU energy", "J"))
    if has_cpu or guessed:
        told.append(Quantity("cpu_energy", "CPU energy", "J", estimated=not has_cpu))
    ways: dict[str, Better] = {}
    for run in runs:
        ways |= run.better
    ways |= better
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    told += [
        Quantity(f"metric:{name}", name, "", "difference", better=ways.get(name))
        for name in names
        if f"metric:{name}" in found
    ]
    return tuple(told)


def amount(run: Run, quantity: Quantity) -> float | None:
    """Return what a run came to; None where that is not known, or was only estimated."""
    if quantity.estimated:
        return run.estimated_cpu_joules
    if quantity.key == "energy":
        parts = [run.amounts.get(key) for key in ("cpu_energy", "gpu_energy")]
        return sum(one for one in parts if one is not None) if None not in parts else None
    return run.amounts.get(quantity.key)


def by_configuration(runs: Iterable[Run]) -> Groups:
    """Return the runs of each configuration."""
    groups: Groups = {}
    for run in runs:
        groups.setdefault(run.configuration, []).append(run)
    return groups


def mean_of(values: Sequence[float], kind: str) -> float:
    """Return the geometric mean of positive amounts, or the mean of metrics."""
    if kind == "ratio":
        return math.exp(fmean(map(math.log, values)))
    return fmean(values)


def label_of(run: Run, names: Iterable[str] = ()) -> str:
    """Return the hyper-parameters that tell a configuration from others, in words."""
    told = [name for name in (list(names) or run.mutated) if name in run.hyperparameters]
    return ", ".join(f"{name}={run.hyperparameters[name]:.6g}" for name in told) or "as it is"


def varied_names(runs: Sequence[Run]) -> list[str]:
    """Return the hyper-parameters of which runs have several values, but for the seed."""
    values: dict[str, set[float]] = {}
    for run in runs:
        for name, value in run.hyperparameters.items():
            values.setdefault(name, set()).add(value)
    return sorted(name for name, seen in values.items() if len(seen) > 1 and name != SEED)
