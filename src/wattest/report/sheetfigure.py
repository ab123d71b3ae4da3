"""The picture of one run: power over its window, and below it when the load ran."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wattest.report.drawing import INK, MODES, Picture, drawing, readable
from wattest.report.numbers import duration
from wattest.report.sheet import LoadRun, Sheet, power_range
from wattest.report.sparkline import load_sentences
from wattest.report.traces import PowerTrace, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 500
_MOST_REASONS = 3
_LETTERS = 95
_UNITS = ((7200.0, 3600.0, "hours"), (180.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))
_COLORS = {"GPU": "#2e9e6b", "CPU": "#2f7fd0"}


def sheet_picture(sheet: Sheet, name: str = "run", columns: int = _COLUMNS) -> Picture:
    """Return the picture of a run; a thin axis for the load, one for the power of each domain.

    Power is drawn from its lowest to its highest sample in each of so many columns.
    """
    panels, reasons = len(sheet.traces) + 1, sheet.reasons[:_MOST_REASONS]
    height = 1.2 + 1.3 * len(sheet.traces) + 0.2 * len(reasons)
    with drawing() as figure_of:
        figure = figure_of(figsize=(7.5, height))
        scale, unit = _unit(sheet.window_seconds)
        bottom = 0.55
        for index in range(panels):
            tall = 0.3 if index == 0 else 1.05
            axes = figure.add_axes((0.11, bottom / height, 0.86, tall / height))
            bottom += tall + 0.25
            axes.set_xlim(0, max(sheet.window_seconds, 1e-9) / scale)
            if index == 0:
                _draw_load(axes, sheet, scale)
                axes.set_xlabel(f"{unit} since the window opened")
                continue
            _draw_power(axes, sheet.traces[-index], sheet, scale, columns)
            axes.tick_params(labelbottom=False)
        lines = [
            f"{sheet.experiment_id}  ({sheet.headline})",
            *(f"because {one}" for one in reasons),
        ]
        for index, line in enumerate(lines):
            y = 1 - (0.24 + 0.2 * index) / height
            weight = "normal" if index else "bold"
            figure.text(0.11, y, readable(line, _LETTERS), fontweight=weight)
    return Picture(
        name, f"Run {sheet.experiment_id}: {sheet.headline}", _description(sheet), figure
    )


def _draw_power(axes: Axes, trace: PowerTrace, sheet: Sheet, scale: float, columns: int) -> None:
    color, shade = _COLORS[trace.domain], MODES["load"][0]
    extents = thinned(trace, columns)
    times = [extent.seconds / scale for extent in extents]
    low, high = [one.low_watts for one in extents], [one.high_watts for one in extents]
    axes.fill_between(times, low, high, color=color, alpha=0.35, linewidth=0)
    axes.plot(times, high, color=color, linewidth=0.9)
    axes.set_ylim(0, max(high) * 1.08 or 1)
    axes.set_ylabel(f"{trace.domain} W")
    axes.grid(axis="y")
    for run in (run for load in sheet.loads for run in load.runs or ()):
        start, end = _span(run, sheet.window_seconds)
        if end > start:
            axes.axvspan(start / scale, end / scale, color=shade, alpha=0.10, linewidth=0)
    for epoch in sheet.epochs:
        if epoch.seen_seconds is None:
            continue
        axes.axvline(epoch.seen_seconds / scale, color=INK, linewidth=0.6, linestyle=":")


def _draw_load(axes: Axes, sheet: Sheet, scale: float) -> None:
    axes.set_yticks([])
    axes.set_ylim(0, 1)
    axes.spines["left"].set_visible(False)
    axes.set_ylabel("load", rotation=0, ha="right", va="center", labelpad=8)
    drawn = [load.runs for load in sheet.loads if load.runs]
    if not drawn:
        told = readable("; ".join(load_sentences(sheet)), _LETTERS)
        axes.text(0.0, 0.5, told, transform=axes.transAxes, va="center")
    for row, runs in enumerate(drawn):
        tall = 1 / len(drawn)
        _draw_runs(axes, runs, sheet, scale, (1 - tall * (row + 0.95), 0.9 * tall))


def _draw_runs(
    axes: Axes, runs: Sequence[LoadRun], sheet: Sheet, scale: float, place: tuple[float, float]
) -> None:
    """Draw the runs of one load as bars at a place (bottom, height) of the axes."""
    for index, run in enumerate(runs):
        start, end = _span(run, sheet.window_seconds)
        if end <= start:
            continue
        failed = run.has_failed
        axes.broken_barh(
            [(start / scale, (end - start) / scale)], place, linewidth=0.8,
            facecolor="none" if failed else MODES["load"][0], hatch="xxxx" if failed else None,
            edgecolor=INK if failed else MODES["load"][0], alpha=0.9 if index % 2 == 0 else 0.55,
        )  # fmt: skip


def _span(run: LoadRun, seconds: float) -> tuple[float, float]:
    end = seconds if run.ended_seconds is None else run.ended_seconds
    return max(run.started_seconds, 0.0), min(end, seconds)


def _unit(seconds: float) -> tuple[float, str]:
    return next((scale, unit) for least, scale, unit in _UNITS if seconds >= least)


def _description(sheet: Sheet) -> str:
    told = [f"A window of {duration(sheet.window_seconds)}."]
    told += [f"{trace.domain} power from {power_range(trace)}." for trace in sheet.traces]
    told += [f"Load: {sentence}." for sentence in load_sentences(sheet)]
    told += [f"Refused: {reason}." for reason in sheet.reasons]
    return " ".join(told)
