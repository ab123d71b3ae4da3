"""What the load did: ratios and differences of pairs, over configurations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from wattest.report.model import ForestRow, Point
from wattest.report.runs import Pair, Quantity
from wattest.report.soundness import (
    pairs_refusal,
    points_only,
    refused,
    seed_note,
    without_interval,
)
from wattest.report.statistics import paired, with_holm
from wattest.report.studies import Material, Options, amount, label_of, mean_of, varied_names


def load_rows(
    material: Material, told: Sequence[Quantity], options: Options
) -> tuple[tuple[ForestRow, ...], str | None]:
    """Return what the load did to each quantity, and why there is nothing or no interval at all."""
    pairs = material.pairs
    if not pairs:
        return (), _no_pairs(material)
    halves = [half for pair in pairs for half in (pair.loaded, pair.alone)]
    refusal = pairs_refusal(pairs, options.across)
    reason = points_only(halves, options.across)
    rows = {
        quantity.key: _row(pairs, quantity, options, refusal, reason)
        for quantity in told
        if any(change(pair, quantity) is not None for pair in pairs)
    }
    told_p = with_holm({key: row.estimate for key, row in rows.items()}, options.p_values)
    found = tuple(replace(row, estimate=told_p[key]) for key, row in rows.items())
    return found, refusal or reason


def change(pair: Pair, quantity: Quantity) -> float | None:
    """Return loaded over alone, or loaded minus alone; None where either is not known."""
    loaded, alone = amount(pair.loaded, quantity), amount(pair.alone, quantity)
    if loaded is None or alone is None:
        return None
    return loaded / alone if quantity.kind == "ratio" else loaded - alone


def changes_of(pairs: Sequence[Pair], quantity: Quantity) -> dict[str, list[float]]:
    """Return the changes of each configuration's pairs."""
    found: dict[str, list[float]] = {}
    for pair in pairs:
        value = change(pair, quantity)
        if value is not None:
            found.setdefault(pair.configuration, []).append(value)
    return found


def _row(
    pairs: Sequence[Pair],
    quantity: Quantity,
    options: Options,
    refusal: str | None,
    reason: str | None,
) -> ForestRow:
    points = tuple(_points(pairs, quantity))
    alone = all(len(point.values) == 1 for point in points)
    unit = "pairs" if alone else "configurations"
    estimate = paired([one.value for one in points], quantity.kind, unit, options.margin)
    if refusal:
        return ForestRow(quantity, refused(estimate, refusal))
    estimate = without_interval(estimate, reason)
    if quantity.kind == "difference":
        estimate = replace(estimate, note=seed_note(pair.alone for pair in pairs))
    return ForestRow(quantity, estimate, points)


def _points(pairs: Sequence[Pair], quantity: Quantity) -> Iterator[Point]:
    names = varied_names([pair.alone for pair in pairs])
    labels = {pair.configuration: label_of(pair.alone, names) for pair in pairs}
    for key, values in changes_of(pairs, quantity).items():
        center = mean_of(values, quantity.kind)
        if math.isfinite(center):
            yield Point(labels[key], center, tuple(values))


def _no_pairs(material: Material) -> str | None:
    if material.load is None:
        return "nothing ran under a load"
    if not material.of_arm("alone"):
        return 'nothing ran alone: "baseline": true in the settings makes pairs'
    return "no pair counts: see which were left out, and why"
