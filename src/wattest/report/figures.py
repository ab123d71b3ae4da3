"""The figures of a report: what the load cost, what each hyper-parameter costs and gives.

Each is as wide as half a page of paper, so that it can be read on a telephone, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from wattest.report import numbers
from wattest.report.blocks import cell, titled
from wattest.report.drawing import INK, MODES, Picture, drawing, readable
from wattest.report.model import (
    Effect,
    Estimate,
    ForestRow,
    Front,
    FrontPoint,
    HyperparameterRow,
    Study,
)
from wattest.report.runs import Quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_INCHES = 5.0
_LABEL_INCHES = 1.3
_LETTERS = 20
_MOST_LABELS = 40
_MOST_EFFECTS = 4
_TOLD_INCHES = 1.55
_COLOR, _MARKER = MODES["parallel"]


def forest_picture(study: Study, rows: Sequence[ForestRow], name: str) -> Picture | None:
    """Return what the load did, row by row: ratios in one panel, each difference in its own.

    None where nothing has a value.
    """
    rows = [row for row in rows if row.estimate.value is not None]
    ratios = [row for row in rows if row.estimate.kind == "ratio"]
    groups = [ratios] if ratios else []
    groups += [[row] for row in rows if row.estimate.kind != "ratio"]
    if not groups:
        return None
    heights = [0.3 * len(group) + 0.1 for group in groups]
    with drawing() as figure_of:
        height = sum(heights) + 0.5 * len(groups) + 0.1
        figure = figure_of(figsize=(WIDTH_INCHES, height))
        top = height - 0.1
        for group, tall in zip(groups, heights, strict=True):
            axes = figure.add_axes(_place(top - tall, tall, height, right=_TOLD_INCHES))
            _draw_forest(axes, group)
            top -= tall + 0.5
    told = "; ".join(f"{titled(row.quantity)} {cell(row.estimate, row.quantity)}" for row in rows)
    return Picture(name, f"What the load did: {study.program} over {study.load}", told, figure)


def configurations_picture(row: ForestRow, name: str) -> Picture | None:
    """Return what the load did to one quantity, configuration by configuration; None without any.

    Every pair is a small mark, every configuration a large one; sorted by value.
    """
    points = sorted(row.points, key=lambda point: point.value)
    if not points:
        return None
    labelled = len(points) <= _MOST_LABELS
    tall = 0.19 * len(points) + 0.15 if labelled else 4.0
    height = tall + 0.55
    with drawing() as figure_of:
        figure = figure_of(figsize=(WIDTH_INCHES, height))
        axes = figure.add_axes(_place(0.45, tall, height, left=1.95 if labelled else 0.5))
        levels = range(len(points))
        single = [(value, level) for level, one in enumerate(points) for value in one.values]
        if single:
            axes.plot(*zip(*single, strict=True), "|", color=_COLOR, alpha=0.8)
        axes.plot([point.value for point in points], levels, _MARKER, color=_COLOR, markersize=4)
        _draw_reference(axes, row)
        axes.set_ylim(-0.7, len(points) - 0.3)
        axes.set_yticks(
            list(levels) if labelled else [],
            [readable(point.label, 26) for point in points] if labelled else [],
            fontsize=8,
        )
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.xaxis.set_major_formatter(_tick)
        axes.set_xlabel(_axis_of(row))
    values = [point.value for point in points]
    told = f"{len(points)} configurations, from {min(values):.4g} to {max(values):.4g}"
    return Picture(name, f"{row.quantity.title}, configuration by configuration", told, figure)


def effects_picture(row: HyperparameterRow, effects: Sequence[Effect], name: str) -> Picture | None:
    """Return configuration means over the values of a hyper-parameter; None without any.

    The first four of `effects` that have points are drawn.
    """
    effects = [effect for effect in effects if effect.points][:_MOST_EFFECTS]
    if not effects:
        return None
    lines = math.ceil(len(effects) / 2)
    height = 1.75 * lines + 0.1
    with drawing() as figure_of:
        figure = figure_of(figsize=(WIDTH_INCHES, height))
        for index, effect in enumerate(effects):
            line, side = divmod(index, 2)
            bottom = height - 1.75 * (line + 1) + 0.5
            axes = figure.add_axes((0.12 + 0.5 * side, bottom / height, 0.36, 0.95 / height))
            _draw_effect(axes, row, effect)
    told = "; ".join(
        f"{titled(one.quantity)} {cell(one.estimate, one.quantity)} for {row.step} it"
        for one in effects
    )
    return Picture(name, f"What {row.name} costs, and gives", told, figure)


def front_picture(front: Front, name: str) -> Picture | None:
    """Return energy against a metric, with the front of the means; None without points."""
    if not front.points:
        return None
    with drawing() as figure_of:
        labels = len({(point.arm, point.is_surely_dominated) for point in front.points})
        height = 2.75 + (0.22 * math.ceil(labels / 2) if labels > 1 else 0)
        figure = figure_of(figsize=(WIDTH_INCHES, height))
        axes = figure.add_axes((0.15, 0.48 / height, 0.81, 2.2 / height))
        for arm in dict.fromkeys(point.arm for point in front.points):
            _draw_points(axes, [point for point in front.points if point.arm == arm], arm)
        best = sorted((one.energy, one.metric) for one in front.points if one.is_on_front)
        if len(best) > 1:
            energies, metrics = zip(*best, strict=True)
            axes.step(energies, metrics, where="post", color=INK, linewidth=0.8, linestyle="--")
        scale, unit = _energy_unit([point.energy for point in front.points])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / scale:.4g}")
        tilde = "~" if front.energy.estimated else ""
        axes.set_xlabel(f"{front.energy.title}, {tilde}{unit}")
        axes.yaxis.set_major_formatter(_tick)
        axes.set_ylabel(readable(front.metric.title, _LETTERS))
        axes.margins(0.08)
        axes.locator_params(nbins=5)
        axes.grid()
        if labels > 1:
            figure.legend(loc="upper right", ncols=2, fontsize=8, handletextpad=0.1)
    told = "; ".join(
        f"{one.label} ({one.arm}) {numbers.amount(one.energy, front.energy)},"
        f" {numbers.plain(one.metric)}"
        for one in front.points
        if one.is_on_front
    )
    title = f"{front.energy.title} against {front.metric.title}"
    return Picture(name, title, f"On the front: {told or 'not decided'}", figure)


def _tick(value: float, _: float) -> str:
    return f"{value:.6g}"


def _draw_forest(axes: Axes, rows: Sequence[ForestRow]) -> None:
    levels = range(len(rows) - 1, -1, -1)
    for level, row in zip(levels, rows, strict=True):
        values = [point.value for point in row.points]
        axes.plot(values, [level - 0.26] * len(values), "|", color=_COLOR, alpha=0.6, markersize=5)
        _draw_estimate(axes, row.estimate, level)
        axes.annotate(
            cell(row.estimate, row.quantity), (1.04, level), xycoords=("axes fraction", "data"),
            va="center", fontsize=8, annotation_clip=False,
        )  # fmt: skip
    axes.set_yticks(list(levels), [readable(titled(row.quantity), _LETTERS) for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.5, len(rows) - 0.35)
    axes.margins(x=0.08)
    _draw_reference(axes, rows[0])
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(_tick)
    axes.set_xlabel(_axis_of(rows[0]))


def _draw_estimate(axes: Axes, estimate: Estimate, level: float) -> None:
    value = estimate.value or 0.0
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [level, level], color=_COLOR, linewidth=2)
    filled = _COLOR if estimate.has_interval else "none"
    axes.plot([value], [level], _MARKER, color=_COLOR, markersize=6, markerfacecolor=filled)


def _draw_reference(axes: Axes, row: ForestRow) -> None:
    nothing = 1.0 if row.estimate.kind == "ratio" else 0.0
    axes.axvline(nothing, color=INK, linewidth=0.8)


def _axis_of(row: ForestRow) -> str:
    tilde = "~" if row.quantity.estimated else ""
    if row.estimate.kind == "ratio":
        return f"{tilde}with load / alone"
    return f"{readable(row.quantity.title, 40)}: with load - alone"


def _draw_effect(axes: Axes, row: HyperparameterRow, effect: Effect) -> None:
    color, marker = MODES[row.arm]
    values = [value for value, _ in effect.points]
    amounts = [amount for _, amount in effect.points]
    scale, unit = _scale_of(effect.quantity, amounts)
    axes.plot(values, [amount / scale for amount in amounts], marker, color=color, markersize=4)
    if row.is_logarithmic and min(values) > 0:
        axes.set_xscale("log")
        _thin_log_ticks(axes, values)
    axes.set_title(readable(f"{titled(effect.quantity)}{unit}", 26), fontweight="normal")
    axes.set_xlabel(readable(row.name, 26))
    axes.locator_params(axis="y", nbins=4)
    axes.yaxis.set_major_formatter(_tick)
    axes.margins(0.1)
    axes.grid()


def _thin_log_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Label three places of a logarithmic axis: powers of ten alone may be none of them."""
    low, high = math.log10(min(values)), math.log10(max(values))
    ticks = [10 ** (low + part * (high - low)) for part in (0, 0.5, 1)]
    axes.set_xticks(sorted(set(ticks)), [f"{tick:.2g}" for tick in sorted(set(ticks))])
    axes.set_xticks([], minor=True)


def _draw_points(axes: Axes, points: Sequence[FrontPoint], arm: str) -> None:
    color, marker = MODES[arm]
    kinds: tuple[tuple[str, str, Callable[[FrontPoint], bool]], ...] = (
        (f"{arm}", color, lambda one: not one.is_surely_dominated),
        (f"{arm}, surely dominated", "none", lambda one: one.is_surely_dominated),
    )
    for label, face, belongs in kinds:
        chosen = [one for one in points if belongs(one)]
        if chosen:
            axes.plot([one.energy for one in chosen], [one.metric for one in chosen], marker,
                      color=color, markerfacecolor=face, markersize=5.5, label=label)  # fmt: skip


def _energy_unit(values: Sequence[float]) -> tuple[float, str]:
    most = max(map(abs, values), default=0.0)
    units = ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J"))
    return next((one for one in units if most >= one[0]), units[-1])


def _scale_of(quantity: Quantity, values: Sequence[float]) -> tuple[float, str]:
    if quantity.unit == "J":
        scale, unit = _energy_unit(values)
        return scale, f", {unit}"
    return 1.0, f", {quantity.unit}" if quantity.unit else ""


def _place(
    bottom: float, tall: float, height: float, left: float = _LABEL_INCHES, right: float = 0.15
) -> tuple[float, float, float, float]:
    """Return the rectangle of axes between columns of text, from inches."""
    wide = WIDTH_INCHES - left - right
    return left / WIDTH_INCHES, bottom / height, wide / WIDTH_INCHES, tall / height
