"""A calibration as people read it: one Markdown table per question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from wattest.calibration.model import Calibration, Reading, Run


def lines_of(calibration: Calibration) -> list[str]:
    """Every line to print; a dash is not known, or not to be known from this source."""
    host = calibration.host
    return [
        f"Machine: {host['cpu_model'] or 'unknown CPU'}, {host['cpu_count']} CPUs, kernel"
        f" {host['kernel']}; counters under {calibration.sys_root}; {calibration.taken_at}",
        "",
        *_table(
            ("counter", "source", "update period", "from .. to", "resolution"),
            _sensors(calibration),
        ),
        "",
        *_table(
            (
                "pattern", "seconds", "load, % of all CPUs", "counter", "mean W", "counter J",
                "integral J", "deviation", "idle to steady",
            ),
            (row for run in calibration.runs for row in _readings(run)),
        ),
        "",
        *_table(
            ("pattern", "own CPU, % of a core", "sampling loop", "samples", "p95 period"),
            (_cost(run) for run in calibration.runs),
        ),
        *_remarks(calibration),
    ]  # fmt: skip


def _sensors(calibration: Calibration) -> Iterator[Sequence[str]]:
    for finding in calibration.sensors:
        seen = [run.update_periods.get(finding.name) for run in calibration.runs]
        periods = [seconds * 1e3 for seconds in seen if seconds is not None]
        resolution = finding.details.get("resolution_joules")
        yield (
            finding.name,
            finding.source or f"{finding.status}: {finding.reason}",
            f"{median(periods):.1f} ms" if periods else "-",
            f"{min(periods):.1f} to {max(periods):.1f} ms" if periods else "-",
            f"{resolution:.3g} J" if isinstance(resolution, float) else "-",
        )


def _readings(run: Run) -> Iterator[Sequence[str]]:
    head = (run.pattern.name, f"{run.seconds:.1f}", _number(run.load_cpu_percent, ".0f", " %"))
    for one in run.readings:
        yield (*head, one.name, *_figures(one))
        head = ("", "", "")


def _figures(one: Reading) -> Sequence[str]:
    return (
        _number(one.mean_watts, ".2f"),
        _number(one.counter_joules, ".2f"),
        _number(one.integral_joules, ".2f"),
        _number(one.deviation_percent, "+.2f", " %"),
        _number(one.between_percent, ".0f", " %"),
    )


def _cost(run: Run) -> Sequence[str]:
    cost = run.meter_cost
    period = cost.get("p95_period_seconds")
    return (
        run.pattern.name,
        f"{run.own_cpu_percent:.3f} %",
        _number(cost.get("loop_cpu_percent_of_core"), ".3f", " %"),
        str(cost.get("samples")),
        f"{period * 1e3:.1f} ms" if isinstance(period, float) else "-",
    )


def _remarks(calibration: Calibration) -> Iterator[str]:
    """What a record of the same window would say against the numbers."""
    texts = [
        f"{run.pattern.name}: {kind}: {text}"
        for run in calibration.runs
        for kind, reasons in (("invalid", run.faults), ("flag", run.flags))
        for text in reasons
    ]
    if texts:
        yield ""
        yield from texts


def _number(value: object, form: str, unit: str = "") -> str:
    return format(value, form) + unit if isinstance(value, float) else "-"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> list[str]:
    every = [head, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in every
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
