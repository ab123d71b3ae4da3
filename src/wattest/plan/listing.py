"""A plan as text: a table for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from wattest.files import json_text
from wattest.plan.experiment import Experiment, Plan
from wattest.plan.store import document


def listing(plan: Plan, form: str) -> Iterator[str]:
    """Yield the lines of the plan as ``table``, ``json`` or ``csv``.

    Only a line feed ends a line: a name may hold what ``str.splitlines`` splits at (U+2028).
    """
    if form == "json":
        yield from json_text(document(plan)).split("\n")
    elif form == "csv":
        yield from _csv(plan)
    else:
        yield from _table(plan)


def _table(plan: Plan) -> Iterator[str]:
    yield (
        f"{plan.settings.file}: {len(plan.experiments)} experiments, seed {plan.seed},"
        f" {plan.order.replace('_', ' ')}, plan {plan.digest}"
    )
    rows = [("#", "block", "experiment", "over", "values")]
    for position, one in enumerate(plan.experiments, start=1):
        over = one.background_models or "-"
        rows.append((str(position), str(one.block), one.id, over, _values(one)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[4]]).rstrip()


def _values(experiment: Experiment) -> str:
    """Return all values; those that were drawn carry a star."""
    return " ".join(
        f"{name}{'*' if name in experiment.mutated else ''}={value!r}"
        for name, value in experiment.foreground.hyperparameters.items()
    )


def _csv(plan: Plan) -> Iterator[str]:
    names = sorted({name for one in plan.experiments for name in one.foreground.hyperparameters})
    head = ["position", "block", "id", "mode", "repository", "model", "background", "mutated"]
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow([*head, *(f"hyperparam_{name}" for name in names)])
    for position, one in enumerate(plan.experiments, start=1):
        training, over = one.foreground, one.background_models
        values = map(training.hyperparameters.get, names)
        named = (one.id, one.mode, training.program.name, training.model, over)
        writer.writerow([position, one.block, *named, ",".join(one.mutated), *values])
    yield from output.getvalue().removesuffix("\n").split("\n")
