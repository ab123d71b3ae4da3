"""Whether it can be believed: everything that speaks against a report, in sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from wattest.report.facts import at, title
from wattest.report.model import Belief, Effect, Estimate, Study
from wattest.report.runs import LeftOut, Reading, Run
from wattest.report.sentences import few
from wattest.report.soundness import order_fault, seed_note
from wattest.report.statistics import counted
from wattest.report.studies import varied_names

_NUMBER = re.compile(r"\d[\d.,]*")


def belief_of(
    reading: Reading, studies: Sequence[Study], left_out: Sequence[LeftOut], across: Iterable[str]
) -> Belief:
    """Return what a reader must know before believing these studies."""
    valid = [run for run in reading.runs if run.is_valid]
    refusals = dict.fromkeys(text for study in studies for text in _refusals(study))
    return Belief(
        invalid=tuple((run, run.reasons) for run in reading.runs if not run.is_valid),
        flags=_flags(valid),
        order=_order(valid),
        left_out=tuple(left_out),
        refusals=tuple(refusals),
        remarks=tuple(_remarks(reading, valid, studies, sorted(across))),
        damage=reading.damage,
    )


def estimates_of(study: Study) -> Iterator[tuple[str, Estimate]]:
    """Yield every estimate of a study with its name."""
    for row in study.load_rows:
        yield row.quantity.title, row.estimate
    for line in study.hyperparameters:
        for effect in line.effects:
            yield from ((f"{line.name}: {name}", one) for name, one in _parts(effect))


def _parts(effect: Effect) -> Iterator[tuple[str, Estimate]]:
    yield effect.quantity.title, effect.estimate
    if effect.power is not None:
        yield f"power of {effect.quantity.title}", effect.power
    if effect.change is not None:
        yield f"{effect.quantity.title}, change by the load", effect.change


def _refusals(study: Study) -> Iterator[str]:
    """Yield why numbers or intervals are missing; most say it for all numbers of a study."""
    shared = [text for text in (study.load_reason, study.hyperparameter_reason) if text]
    yield from shared
    reasons: dict[str, list[str]] = {}
    for name, estimate in estimates_of(study):
        if estimate.reason and estimate.reason not in shared:
            reasons.setdefault(estimate.reason, []).append(name)
    for reason, names in reasons.items():
        yield f"{reason} ({few(names, 2)})"
    for front in study.fronts:
        if front.reason and front.reason not in shared:
            yield front.reason
    valid = [run for run in study.runs if run.is_valid]
    yield from _energy_refusals(valid)
    yield from _untold([run for run in valid if run.arm != "load"])


def _untold(runs: Sequence[Run]) -> Iterator[str]:
    """Yield which configurations no effect is made of, since they lack a value that others have."""
    names = varied_names(runs)
    lacks = {
        run.configuration: [name for name in names if name not in run.hyperparameters]
        for run in runs
    }
    if missing := [name for one in lacks.values() for name in one]:
        count = counted(sum(map(bool, lacks.values())), "configurations")
        yield f"{count} without a value of {few(missing, 2)}: in no effect of a hyper-parameter"


def _energy_refusals(runs: Sequence[Run]) -> Iterator[str]:
    has = {key: [key in run.amounts for run in runs] for key in ("cpu_energy", "gpu_energy")}
    if any(map(any, has.values())) and not all(map(all, has.values())):
        lacks = [
            f"{name} not in {counted(told.count(False), 'runs')}"
            for name, told in (("CPU", has["cpu_energy"]), ("GPU", has["gpu_energy"]))
            if not all(told)
        ]
        yield f"no total of CPU and GPU: both must be measured in every run ({'; '.join(lacks)})"
    guessed = sum(
        "cpu_energy" not in run.amounts and run.estimated_cpu_joules is not None for run in runs
    )
    if guessed and any(has["cpu_energy"]):
        yield (
            f"CPU energy of {counted(guessed, 'runs')} was only estimated, and is in no number:"
            " estimates and measurements never mix"
        )


def _flags(runs: Iterable[Run]) -> dict[str, int]:
    """Return the first of each kind of flag, to how many runs have that kind."""
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for run in runs:
        kinds = {_NUMBER.sub("#", flag): flag for flag in run.flags}
        for kind, flag in kinds.items():
            counts[first.setdefault(kind, flag)] += 1
    return dict(counts.most_common())


def _order(runs: Sequence[Run]) -> str:
    if not runs:
        return "no run counts"
    return order_fault(runs) or "in randomised blocks, as planned"


def _remarks(
    reading: Reading, valid: Sequence[Run], studies: Sequence[Study], across: Sequence[str]
) -> Iterator[str]:
    if any(study.pairs for study in studies):
        yield (
            "energy under load is combined: the counters of a machine cannot tell the training"
            " from its load"
        )
    for name, what in (("gpu", "GPUs"), ("host", "hosts")):
        count = len({run.facts[name] for run in valid if name in run.facts})
        if count > 1:
            yield f"trainings ran on {count} {what}; each ratio of a pair is of one"
    if note := seed_note(valid):
        yield f"every training had one seed: metrics are {note}"
    if across:
        yield f"declared to differ: {', '.join(title(name) for name in across)}"
    if derived := sum(run.is_configuration_derived for run in reading.runs):
        yield (
            f"{counted(derived, 'records')} of an earlier version: which configuration they are"
            " was told from program and hyper-parameters"
        )
    if dirty := sum(_is_dirty(run) for run in valid):
        yield f"{counted(dirty, 'runs')} of code with changes that were not committed"
    if copies := reading.repeated:
        told = "1 copy" if copies == 1 else f"{copies} copies"
        yield f"{told} of records passed over: each counts once"
    if reading.foreign:
        yield f"{reading.foreign} JSON passed over that are none of ours"


def _is_dirty(run: Run) -> bool:
    return at(run.record["environment"], "code", "programs", run.repository, "dirty") is True
