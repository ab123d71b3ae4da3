"""A report as headings, paragraphs, lists and tables, for every form that is text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from wattest.report import numbers
from wattest.report.blocks import (
    Block,
    Heading,
    Items,
    Paragraph,
    Table,
    cell,
    found,
    titled,
)
from wattest.report.model import (
    Answers,
    Attributed,
    Attribution,
    Belief,
    Effect,
    ForestRow,
    Front,
    HyperparameterRow,
    Study,
)
from wattest.report.runs import Run
from wattest.report.sentences import remark, sentence
from wattest.report.statistics import counted
from wattest.report.studies import amount, label_of

COMBINED = "Energy under load is combined: that of the training and of its load together."
MOST_ATTRIBUTIONS = 12
_MOST_LINES = 20
NOT_ATTRIBUTED = (
    "Energy of a run under a load is that of both trainings together, and no number here is the"
    " foreground's share of it. To attribute it, the training alone and the load alone are needed"
    ' ("baseline": "both" in the settings), with energies that were measured.'
)
NO_ONE_TRUTH = (
    "Counters are machine-wide; these are different questions, and none of the answers is the one"
    " truth. Extra at the same time is 0 where both saturate the machine: it is never the"
    " training's cost. Over the same blocks the Shapley shares and idle add up to combined."
)


def outline(answers: Answers) -> Iterator[Block]:
    """Yield the blocks of a report: the first screen, then what it rests on."""
    yield Heading(1, answers.title)
    if answers.is_estimated:
        yield Paragraph("No energy was measured; what there may be of it is an estimate, marked ~.")
    yield Items(tuple(f"{label}: {text}" for label, text in answers.facts))
    yield from _each("What did the load cost?", answers, _load)
    yield from _each("What does each hyper-parameter cost, and give?", answers, _hyperparameters)
    yield Heading(2, "Can it be believed?")
    yield Items(tuple(belief_lines(answers.belief)))
    yield from _each("Energy against metric", answers, _fronts)
    yield from _each("The load, configuration by configuration", answers, _configurations)
    yield Heading(2, "Whose energy?")
    yield from attribution_blocks(answers.attributions, MOST_ATTRIBUTIONS)
    yield from _each("Every run", answers, _runs)
    yield Heading(2, "Methods")
    yield Paragraph(answers.methods)


def _each(
    title: str, answers: Answers, told: Callable[[Study], Iterable[Block]]
) -> Iterator[Block]:
    """Yield a section with what is told of each study, named where there are several."""
    yield Heading(2, title)
    for study in answers.studies:
        if len(answers.studies) > 1:
            yield Heading(3, study.name)
        yield from told(study)


def attribution_blocks(found: Sequence[Attribution], most: int | None = None) -> Iterator[Block]:
    """Yield who used how much, under each definition, or why that is not known."""
    if not found:
        yield Paragraph(NOT_ATTRIBUTED)
        return
    yield Paragraph(NO_ONE_TRUTH)
    if most is not None and len(found) > most:
        left = len(found) - most
        yield Paragraph(f"The first {most} are shown; wattest attribute shows {left} more.")
    for one in found[:most]:
        yield Heading(3, attributed_title(one))
        yield Table(("", "mean of a run", "n", ""), tuple(map(_attributed_row, one.rows)))


def attributed_title(one: Attribution) -> str:
    """Return what is attributed: the domain, the program with its values, the load."""
    what = {"gpu_energy": "GPU", "cpu_energy": "CPU", "energy": "CPU + GPU"}[one.domain]
    return f"{what} energy of {one.program} ({one.configuration}) under load of {one.load}"


def _attributed_row(row: Attributed) -> tuple[str, ...]:
    one = row.estimate
    value = numbers.joules(one.value, row.key == "cpu_time_share")
    if one.low is not None and one.high is not None:
        value += f" [{numbers.joules(one.low)}, {numbers.joules(one.high)}]"
    return row.title, value, f"{counted(one.n, 'blocks')}" if one.n else "-", remark(one)


def _load(study: Study) -> Iterator[Block]:
    if not study.load_rows:
        yield Paragraph(sentence(study.load_reason or "nothing is known"))
        return
    head = ("", "with load / alone", "n", "found with 80 % power", "")
    yield Table(head, tuple(map(_load_row, study.load_rows)))
    methods = dict.fromkeys(row.estimate.method for row in study.load_rows if row.estimate.method)
    yield Paragraph(f"{COMBINED} Metrics: with load minus alone. {_methods(methods)}")


def _methods(methods: Iterable[str]) -> str:
    return f"95 % intervals: {'; '.join(methods)}."


def _load_row(row: ForestRow) -> tuple[str, ...]:
    one = row.estimate
    n = counted(one.n, one.unit)
    return titled(row.quantity), cell(one, row.quantity), n, found(one), remark(one)


def _hyperparameters(study: Study) -> Iterator[Block]:
    if not study.hyperparameters:
        yield Paragraph(sentence(study.hyperparameter_reason or "nothing is known"))
        return
    for arm in dict.fromkeys(row.arm for row in study.hyperparameters):
        rows = [row for row in study.hyperparameters if row.arm == arm]
        where = "alone" if arm == "alone" else "under load, energies combined"
        yield Paragraph(f"Trainings {where}; × is a factor, + and - are differences:")
        yield from _arm_tables(rows, study)


def _arm_tables(rows: Sequence[HyperparameterRow], study: Study) -> Iterator[Block]:
    """Yield a table for the energy, as time times power, and one for what else there is."""
    head = ("", "duration", "power", "energy = duration × power", "metric", "change by the load")
    first = [_hyperparameter_row(row, study) for row in rows]
    if study.energy is not None:
        head = (*head[:3], f"{titled(study.energy)} = duration × power", *head[4:])
    if study.metric is not None:
        head = (*head[:4], study.metric.title, head[5])
    yield Table(head, tuple(first))
    lines = [
        (f"{row.step} {row.name}", titled(one.quantity), cell(one.estimate, one.quantity),
         counted(one.estimate.n, one.estimate.unit), found(one.estimate), remark(one.estimate))
        for row in rows for one in row.effects
    ]  # fmt: skip
    if lines:
        yield Table(("", "on", "effect", "n", "found with 80 % power", ""), tuple(lines))


def _hyperparameter_row(row: HyperparameterRow, study: Study) -> tuple[str, ...]:
    energy = row.effect(study.energy.key) if study.energy else None
    metric = row.effect(study.metric.key) if study.metric else None
    return (
        f"{row.step} {row.name}",
        _effect_cell(row.effect("duration")),
        cell(energy.power, energy.quantity) if energy else numbers.UNKNOWN,
        _effect_cell(energy),
        _effect_cell(metric),
        cell(energy.change, energy.quantity) if energy else numbers.UNKNOWN,
    )


def _effect_cell(effect: Effect | None) -> str:
    return numbers.UNKNOWN if effect is None else cell(effect.estimate, effect.quantity)


def belief_lines(belief: Belief) -> Iterator[str]:
    """Yield what speaks against it, the gravest first."""
    yield from (f"damaged: {one.path.name} {one.text}" for one in belief.damage)
    yield from _first(
        [f"invalid: {run.experiment_id} ({'; '.join(reasons)})" for run, reasons in belief.invalid],
        "invalid runs",
    )
    left = belief.left_out
    if left:
        yield f"{counted(len(left), 'pairs')} left out"
    yield from _first([f"left out: {one.label}: {one.reason}" for one in left], "pairs left out")
    yield f"order: {belief.order}"
    yield from (f"refused: {text}" for text in belief.refusals)
    yield from (f"flag: {text} ({counted(n, 'runs')})" for text, n in belief.flags.items())
    yield from belief.remarks
    if not (belief.invalid or left or belief.damage or belief.flags):
        yield "no run invalid, no pair left out, no flag"


def _first(lines: Sequence[str], what: str) -> Iterator[str]:
    """Yield as many lines as a first screen can bear, and how many more there are."""
    yield from lines[:_MOST_LINES]
    if (more := len(lines) - _MOST_LINES) > 0:
        yield f"{more} more {what}: see every run, or --format json"


def _fronts(study: Study) -> Iterator[Block]:
    return chain.from_iterable(map(_front, study.fronts))


def _front(front: Front) -> Iterator[Block]:
    rows = tuple(
        (
            one.label, one.arm, numbers.amount(one.energy, front.energy), numbers.plain(one.metric),
            counted(one.n, "runs"), _standing(one.is_on_front, one.is_surely_dominated, front),
        )
        for one in sorted(front.points, key=lambda point: point.energy)
    )  # fmt: skip
    if rows:
        yield Table(("", "", titled(front.energy), front.metric.title, "n", ""), rows)
    if front.reason:
        yield Paragraph(sentence(front.reason))


def _standing(is_on_front: bool, is_dominated: bool, front: Front) -> str:
    if front.metric.better is None:
        return ""
    if is_on_front:
        return "on the front"
    return "surely dominated" if is_dominated else "not surely dominated"


def _configurations(study: Study) -> Iterator[Block]:
    for row in study.load_rows:
        if row.quantity in (study.energy, study.metric) and row.points:
            said = numbers.ratio if row.quantity.kind == "ratio" else numbers.difference
            tilde = "~" * row.quantity.estimated
            rows = tuple(
                (one.label, tilde + said(one.value), ", ".join(tilde + said(v) for v in one.values))
                for one in row.points
            )
            yield Table((titled(row.quantity), "with load / alone", "its pairs"), rows)


def _runs(study: Study) -> Iterator[Block]:
    metric = study.metric.title if study.metric else "metric"
    head = ("", "", "", "duration", "CPU", "GPU", metric, "")
    yield Table(head, tuple(_run_row(run, study) for run in study.runs))


def _run_row(run: Run, study: Study) -> tuple[str, ...]:
    value = amount(run, study.metric) if study.metric else None
    measured = run.amounts.get("cpu_energy")
    guessed = run.estimated_cpu_joules if measured is None else None
    return (
        run.experiment_id,
        run.arm,
        label_of(run),
        numbers.duration(run.amounts.get("duration")),
        numbers.joules(measured if guessed is None else guessed, guessed is not None),
        numbers.joules(run.amounts.get("gpu_energy")),
        numbers.plain(value),
        "valid" if run.is_valid else f"invalid: {'; '.join(run.reasons)}",
    )
