"""A report for programs: its numbers as CSV or JSON, and its runs as a table of pandas."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from wattest.report.model import Answers, Effect, Estimate
from wattest.report.runs import Quantity, Run

_COLUMNS = (
    "program", "load", "question", "arm", "hyperparameter", "step", "quantity", "estimated", "kind",
    "value", "low", "high", "n", "unit", "smallest_effect", "p_value", "equivalence", "note",
    "reason", "method",
)  # fmt: skip
# What another part of the document tells already.
_ONCE = ("record", "runs", "pairs")
_RUN = (
    "experiment_id", "session_id", "test_id", "timestamp", "repository", "model", "arm", "load",
    "hyperparameters", "mutated", "configuration", "partner", "repetition", "block", "position",
    "is_valid", "reasons", "flags", "amounts", "estimated_cpu_joules",
)  # fmt: skip


def csv_text(answers: Answers) -> str:
    """Return every estimate in a row of its own."""
    output = io.StringIO(newline="")
    writer = csv.DictWriter(output, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(answers))
    return output.getvalue()


def json_text(answers: Answers) -> str:
    """Return everything that a report says, with all digits; what is not known is null."""
    return json.dumps(document_of(answers), indent=1, ensure_ascii=False, allow_nan=False)


def compact_json_text(answers: Answers) -> str:
    """Return the same in one line of ASCII, in which no letter changes what is around it."""
    return json.dumps(document_of(answers), separators=(",", ":"), allow_nan=False)


def document_of(answers: Answers) -> dict[str, Any]:
    """Return everything that a report says as plain data; `facts` of a run are their number."""
    facts: list[Mapping[str, str]] = []
    runs = []
    for run in answers.runs:
        facts += [] if run.facts in facts else [run.facts]
        told = {name: plain_data(getattr(run, name)) for name in _RUN}
        runs.append(told | {"facts": facts.index(run.facts)})
    return {**plain_data(answers), "runs": runs, "run_facts": plain_data(facts)}


def _rows(answers: Answers) -> Iterator[dict[str, Any]]:
    for study in answers.studies:
        place = {"program": study.program, "load": study.load}
        for row in study.load_rows:
            yield place | {"question": "load"} | _row(row.quantity, row.estimate)
        for line in study.hyperparameters:
            named = place | {"arm": line.arm, "hyperparameter": line.name, "step": line.step}
            for effect in line.effects:
                yield from (named | one for one in _effect_rows(effect))


def _effect_rows(effect: Effect) -> Iterator[dict[str, Any]]:
    parts = {"effect": effect.estimate, "power": effect.power, "change by load": effect.change}
    for question, estimate in parts.items():
        if estimate is not None:
            yield {"question": question} | _row(effect.quantity, estimate)


def _row(quantity: Quantity, one: Estimate) -> dict[str, Any]:
    told = asdict(one)
    told["smallest_effect"] = told.pop("smallest")
    return {"quantity": quantity.key, "estimated": quantity.estimated, **told}


def plain_data(value: Any) -> Any:
    """Return a value as JSON has it; runs are told by their ids."""
    if isinstance(value, Run):
        return value.experiment_id
    if isinstance(value, Path):
        return value.name
    if is_dataclass(value):
        names = [one.name for one in fields(value) if one.name not in _ONCE]
        return {name: plain_data(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {key: plain_data(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
