"""A calibration as people read it: one Markdown table per question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from wattest.calibration.measure import Calibration

Rows = Iterator[Sequence[str]]


def lines_of(calibration: Calibration) -> list[str]:
    """Every line to print; a dash is not known, or not to be known from this source."""
    host = calibration.host
    machine = f"{host['cpu_model'] or 'unknown CPU'}, {host['cpu_count']} CPUs, kernel"
    counters = f"counters under {calibration.sys_root}; {calibration.taken_at}"
    return [
        f"Machine: {machine} {host['kernel']}; {counters}",
        "",
        *_table(_sensors(calibration)),
        "",
        *_table(_readings(calibration)),
        "",
        *_table(_costs(calibration)),
        "",
        *_remarks(calibration),
    ]


def _sensors(calibration: Calibration) -> Rows:
    yield "counter", "source", "update period", "from .. to", "resolution"
    for finding in calibration.sensors:
        seen = [run.update_periods.get(finding.name) for run in calibration.runs]
        periods = [seconds * 1e3 for seconds in seen if seconds is not None]
        yield (
            finding.name,
            finding.source or f"{finding.status}: {finding.reason}",
            f"{median(periods):.1f} ms" if periods else "-",
            f"{min(periods):.1f} to {max(periods):.1f} ms" if periods else "-",
            _number(finding.details.get("resolution_joules"), ".3g", " J"),
        )


def _readings(calibration: Calibration) -> Rows:
    yield (
        "pattern", "seconds", "load, % of all CPUs", "counter", "mean W", "counter J",
        "integral J", "deviation", "idle to steady",
    )  # fmt: skip
    for run in calibration.runs:
        head = run.pattern.name, f"{run.seconds:.1f}", _number(run.load_cpu_percent, ".0f", " %")
        for one in run.readings:
            yield (
                *head,
                one.name,
                _number(one.mean_watts, ".2f"),
                _number(one.counter_joules, ".2f"),
                _number(one.integral_joules, ".2f"),
                _number(one.deviation_percent, "+.2f", " %"),
                _number(one.between_percent, ".0f", " %"),
            )
            head = "", "", ""


def _costs(calibration: Calibration) -> Rows:
    yield "pattern", "own CPU, % of a core", "sampling loop", "samples", "p95 period"
    for run in calibration.runs:
        cost = run.meter_cost
        period = cost.get("p95_period_seconds")
        yield (
            run.pattern.name,
            f"{run.own_cpu_percent:.3f} %",
            _number(cost.get("loop_cpu_percent_of_core"), ".3f", " %"),
            str(cost.get("samples")),
            f"{period * 1e3:.1f} ms" if isinstance(period, float) else "-",
        )


def _remarks(calibration: Calibration) -> Iterator[str]:
    """What a record of the same windows would say against the numbers."""
    for run in calibration.runs:
        yield from (f"{run.pattern.name}: invalid: {text}" for text in run.faults)
        yield from (f"{run.pattern.name}: flag: {text}" for text in run.flags)


def _number(value: object, form: str, unit: str = "") -> str:
    return format(value, form) + unit if isinstance(value, float) else "-"


def _table(rows: Rows) -> list[str]:
    head, *body = rows
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in (head, *body)]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
