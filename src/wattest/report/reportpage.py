"""The page of a report: the answers first, then what they rest on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

from wattest.report import numbers
from wattest.report.blocks import cell, titled
from wattest.report.drawing import Picture
from wattest.report.figures import (
    configurations_picture,
    effects_picture,
    forest_picture,
    front_picture,
)
from wattest.report.model import Answers, Effect, ForestRow, HyperparameterRow, Study
from wattest.report.outline import MOST_ATTRIBUTIONS, attribution_blocks, belief_lines
from wattest.report.page import render
from wattest.report.runs import Quantity, Run
from wattest.report.sentences import change, grounds, smallest
from wattest.report.sheet import sheet_of
from wattest.report.sheetfigure import sheet_picture
from wattest.report.studies import amount
from wattest.report.tables import compact_json_text

_MOST_TRACES = 8
_TRACE_COLUMNS = 200
_MOST_CONFIGURATIONS = 4
_MOST_PICTURES = 20


def report_page(answers: Answers) -> str:
    """Return the page of a report.

    Raises:
        ExtraError: jinja2 or matplotlib is not installed.
    """
    asked = count()
    pages = [_study_page(study, number, asked, _MOST_PICTURES)
             for number, study in enumerate(answers.studies, 1)]  # fmt: skip
    undrawn = next(asked) - _MOST_PICTURES
    left = len(_runs_to_trace(answers)) - _MOST_TRACES
    return render(
        "report.html",
        answers=answers,
        pages=pages,
        undrawn=f"{undrawn} more figures are not shown; --figures leaves each." * (undrawn > 0),
        belief=list(belief_lines(answers.belief)),
        attribution=list(attribution_blocks(answers.attributions, MOST_ATTRIBUTIONS)),
        traces=list(_traces(answers)),
        traces_left_out=f" {left} more are not shown; wattest show draws each." if left > 0 else "",
        rows=[_row(run) for run in answers.runs],
        numbers_json=compact_json_text(answers),
    )


def report_pictures(answers: Answers) -> Iterator[Picture]:
    """Yield every figure of a report, as it stands on the page."""
    for number, study in enumerate(answers.studies, 1):
        page = _study_page(study, number, count(), math.inf)
        yield from (*page["pictures"]["load"], *page["pictures"]["configurations"])
        yield from (picture for _, picture in page["fronts"] if picture)
        yield from (picture for *_, picture in page["rows"] if picture)
    yield from _traces(answers)


def _study_page(study: Study, number: int, asked: Iterator[int], most: float) -> dict[str, Any]:
    """Return what the page says of a study; of figures below the first screen only so many."""
    stem = f"s{number}"

    def drawn(draw: Callable[..., Picture | None], *words: Any) -> Picture | None:
        return draw(*words) if next(asked) < most else None

    metrics = [row for row in study.load_rows if row.quantity.kind != "ratio"]
    rest = [row for row in metrics if row.quantity != study.metric]
    first = [row for row in study.load_rows if row not in rest]
    forest = forest_picture(study, first, f"{stem}-load")
    shown = [row for row in study.load_rows if len(row.points) > 1][:_MOST_CONFIGURATIONS]
    configurations = [
        drawn(configurations_picture, row, f"{stem}-configurations{index}")
        for index, row in enumerate(shown, 1)
    ]
    return {
        "title": study.name,
        "load_reason": study.load_reason,
        "load_lines": [_line(row) for row in study.load_rows],
        "hyperparameter_reason": study.hyperparameter_reason,
        **_first_screen(study),
        "fronts": [
            (front, drawn(front_picture, front, f"{stem}-front{index}"))
            for index, front in enumerate(study.fronts, 1)
        ],
        "rows": [
            (row, list(_lines(row)), drawn(_effects, study, row, f"{stem}-effect{index}"))
            for index, row in enumerate(study.hyperparameters, 1)
        ],
        "pictures": {
            "load": [forest] if forest else [],
            "configurations": [one for one in configurations if one],
        },
    }


def _effects(study: Study, row: HyperparameterRow, name: str) -> Picture | None:
    """Return the picture of the effects that are shown first: energy, duration, metric, rest."""
    first = [one.key for one in (study.energy, study.metric) if one] + ["duration"]
    effects = sorted(row.effects, key=lambda one: one.quantity.key not in first)
    return effects_picture(row, effects, name)


def _first_screen(study: Study) -> dict[str, Any]:
    """Return one row for each hyper-parameter, of the arm that is shown first."""
    rows = [row for row in study.hyperparameters if row.arm == study.shown_arm]
    shown = [one for one in (study.energy, study.metric) if one is not None]
    reasons = dict.fromkeys(
        reason for row in rows for one in row.effects if (reason := one.estimate.reason)
    )
    return {
        "columns": [titled(one) for one in shown],
        "first_rows": [_first_row(row, [one.key for one in shown]) for row in rows],
        "effect_reasons": [f"{reason}." for reason in reasons],
    }


def _first_row(row: HyperparameterRow, keys: Sequence[str]) -> dict[str, Any]:
    time = row.effect("duration")
    effects = [row.effect(key) for key in keys]
    energy = next((one for one in effects if one and one.change), None)
    return {
        "step": f"{row.step} {row.name}",
        "arm": row.arm,
        "effects": [_cell(one, time) for one in effects],
        "change": cell(energy.change, energy.quantity) if energy else numbers.UNKNOWN,
    }


def _cell(one: Effect | None, time: Effect | None) -> list[str]:
    """Return an effect, its parts where it is one on energy, and what it rests on."""
    if one is None or one.estimate.value is None:
        return [numbers.UNKNOWN]
    told = [cell(one.estimate, one.quantity)]
    if one.power is not None and time is not None:
        tilde = "~" * one.quantity.estimated
        power = tilde + numbers.ratio(one.power.value)
        told.append(f"= time {numbers.ratio(time.estimate.value)} × power {power}")
    found = f", 80 % power for {smallest(one.estimate)}" if one.estimate.smallest else ""
    return [*told, f"n = {one.estimate.n}{found}"]


def _lines(row: HyperparameterRow) -> Iterator[tuple[str, str, str]]:
    """Yield every effect of a hyper-parameter; an energy's is followed by that on mean power."""
    for one in row.effects:
        yield _line(one)
        if one.power is not None:
            title = f"mean power ({titled(one.quantity)})"
            yield title, change(one.power, one.quantity), grounds(one.power)


def _line(one: ForestRow | Effect) -> tuple[str, str, str]:
    return titled(one.quantity), change(one.estimate, one.quantity), grounds(one.estimate)


def _runs_to_trace(answers: Answers) -> list[Run]:
    """Return the invalid runs, and of the others those with the least and the most energy.

    Of many invalid ones the first come first, and the rest at the end.
    """
    invalid, chosen = [run for run, _ in answers.belief.invalid], list[Run]()
    for study in answers.studies:
        quantity = study.energy or Quantity("duration", "duration", "s")
        known = [
            (value, run.experiment_id, run)
            for run in study.runs
            if run.is_valid and (value := amount(run, quantity)) is not None
        ]
        known.sort(key=lambda one: one[:2])
        chosen += [run for *_, run in known[:1] + known[1:][-1:] if run not in chosen]
    half = _MOST_TRACES // 2
    return [*invalid[:half], *chosen, *invalid[half:]]


def _traces(answers: Answers) -> Iterator[Picture]:
    """Yield the power of the chosen runs; one that counts and has left no trace is left out."""
    for number, run in enumerate(_runs_to_trace(answers)[:_MOST_TRACES], 1):
        sheet = sheet_of(run.record, run.path.parent)
        if sheet.traces or not run.is_valid:
            yield sheet_picture(sheet, f"trace{number}", _TRACE_COLUMNS)


def _row(run: Run) -> dict[str, Any]:
    cpu = run.amounts.get("cpu_energy")
    return {
        "name": run.experiment_id,
        "arm": run.arm,
        "is_valid": run.is_valid,
        "mutated": ", ".join(
            f"{name}={numbers.plain(run.hyperparameters.get(name))}" for name in run.mutated
        ),
        "duration": numbers.duration(run.amounts.get("duration")),
        "gpu": numbers.joules(run.amounts.get("gpu_energy")),
        "cpu": numbers.joules(run.estimated_cpu_joules if cpu is None else cpu, cpu is None),
        "metrics": ", ".join(
            f"{name}={numbers.plain(run.amounts.get(f'metric:{name}'))}" for name in run.metrics
        ),
        "verdict": "; ".join(("invalid", *run.reasons)) if not run.is_valid else _flags(run),
    }


def _flags(run: Run) -> str:
    count = len(run.flags)
    return f"valid, {count} flag{'s' * (count != 1)}" if count else "valid"
