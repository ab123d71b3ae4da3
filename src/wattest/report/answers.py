"""The answers to what was read: every number with its interval, or the reason for having none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from wattest.errors import ConfigurationError
from wattest.report.attribution import attribute
from wattest.report.belief import belief_of
from wattest.report.effects import load_rows
from wattest.report.facts import gpus_of, text_at
from wattest.report.fronts import front_of
from wattest.report.hyperparameters import hyperparameter_rows
from wattest.report.methods import methods_of
from wattest.report.model import Answers, Study
from wattest.report.runs import Arm, Reading, Run
from wattest.report.sentences import few
from wattest.report.statistics import counted
from wattest.report.studies import Material, Options, materials, pairs_of, quantities

_ARMS: tuple[Arm, ...] = ("alone", "parallel")


def answer(reading: Reading, options: Options | None = None) -> Answers:
    """Return everything that a report says of these runs.

    Raises:
        ConfigurationError: the options name a metric that no record has.
    """
    options = options or Options()
    _check_metrics(reading.runs, options)
    pairs, left_out = pairs_of(reading.runs, options.across)
    made = materials(reading.runs, pairs)
    has_load = any(run.arm == "load" for run in reading.runs)
    studies = tuple(_study(material, options) for material in made)
    are_estimates = [
        one.estimated for study in studies for one in study.quantities if one.unit == "J"
    ]
    answers = Answers(
        title=_title(studies, are_estimates),
        is_estimated=all(are_estimates),
        facts=tuple(_facts(reading.runs, are_estimates)),
        runs=reading.runs,
        counted=sum(run.is_valid for run in reading.runs),
        studies=studies,
        belief=belief_of(reading, studies, left_out, options.across),
        methods="",
        attributions=attribute(reading.runs) if has_load else (),
    )
    return replace(answers, methods=methods_of(answers))


def _check_metrics(runs: Sequence[Run], options: Options) -> None:
    known = sorted({name for run in runs for name in run.metrics})
    asked = [*options.better, *([options.metric] if options.metric else [])]
    faults = [
        f"no record has a metric {name!r}; there are: {', '.join(known) or 'none'}"
        for name in dict.fromkeys(asked)
        if name not in known
    ]
    if faults:
        raise ConfigurationError(faults)


def _study(material: Material, options: Options) -> Study:
    counted_runs = [run for arm in _ARMS for run in material.of_arm(arm)]
    told = quantities(counted_runs, options.better)
    rows, load_reason = load_rows(material, told, options)
    lines, reason = hyperparameter_rows(material, told, options)
    energy = next((one for one in told if one.unit == "J"), None)
    metrics = [one for one in told if one.kind == "difference"]
    chosen = [one for one in metrics if one.title == options.metric]
    metric = next(iter(chosen or metrics), None)
    fronts = [
        front_of(material, arm, energy, metric, options) for arm in _ARMS if energy and metric
    ]
    return Study(
        program=material.program,
        load=material.load,
        runs=material.runs,
        pairs=material.pairs,
        energy=energy,
        metric=metric,
        quantities=told,
        load_rows=rows,
        load_reason=load_reason,
        hyperparameters=lines,
        hyperparameter_reason=reason,
        fronts=tuple(front for front in fronts if front is not None),
    )


def _title(studies: Sequence[Study], are_estimates: Sequence[bool]) -> str:
    programs = list(dict.fromkeys(study.program for study in studies))
    told = programs[0] if len(programs) == 1 else counted(len(programs), "programs")
    if not are_estimates:
        return f"Energy report: {told} (no energy is known)"
    return f"Energy report: {told}" + (" (estimated)" if all(are_estimates) else "")


def _facts(runs: Sequence[Run], are_estimates: Sequence[bool]) -> Iterator[tuple[str, str]]:
    valid = sum(run.is_valid for run in runs)
    yield "runs", f"{valid} of {len(runs)} count"
    yield "programs", _few(run.program for run in runs if run.arm != "load")
    if loads := _few(run.load for run in runs):
        yield "under load of", loads
    if gpus := _few(text_at(one, "name") for run in runs for one in gpus_of(run.record)):
        drivers = _few(run.facts.get("driver") for run in runs)
        yield "GPU", gpus + (f", driver {drivers}" if drivers else "")
    if cpus := _few(run.facts.get("cpu") for run in runs):
        yield "CPU", cpus
    told = ["measured by counters"] if not all(are_estimates) else []
    told += ["estimated from CPU time (~)"] if any(are_estimates) else []
    yield "energy", ", that of CPUs ".join(told) or "not known"
    yield "sessions", _few(run.session_id for run in runs)


def _few(words: Iterable[str | None]) -> str:
    return few(words, 3, "; ")
