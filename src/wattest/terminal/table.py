"""The table at the end of a session."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

_NATURAL_WIDTH = 1000
_CELL_WIDTH = 200


def table_lines(
    columns: Sequence[tuple[str, Literal["left", "right"]]], rows: Iterable[Sequence[str]]
) -> list[str]:
    """Return the lines of a table, as wide as its content; `columns` are titles with their side."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, side in columns:
        table.add_column(title, justify=side, no_wrap=True, max_width=_CELL_WIDTH)
    for row in rows:
        table.add_row(*row)
    output = io.StringIO()
    Console(file=output, width=_NATURAL_WIDTH, highlight=False, markup=False, emoji=False).print(
        table
    )
    return [line.rstrip() for line in output.getvalue().removesuffix("\n").split("\n")]


def summary_lines(headlines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a table with one row per experiment."""
    lines = table_lines(_COLUMNS, map(_row, headlines))
    if any(headline["cpu_energy_estimated_joules"] is not None for headline in headlines):
        lines.append("~ is an estimate from CPU time, not a measurement; - was not measured")
    return lines


_COLUMNS: Sequence[tuple[str, Literal["left", "right"]]] = (
    ("experiment and what was mutated", "left"),
    ("duration", "right"),
    ("CPU J", "right"),
    ("GPU J", "right"),
    ("metrics", "left"),
    ("load", "right"),
    ("verdict", "left"),
)


def _row(headline: Mapping[str, Any]) -> list[str]:
    mutated = [f"  {name}={value:.6g}" for name, value in headline["mutated"].items()]
    metrics = [
        f"{name}={'-' if value is None else format(value, '.4g')}"
        for name, value in headline["performance_metrics"].items()
    ]
    share = headline["load_alive_share"]
    flags = len(headline["flags"])
    return [
        "\n".join([headline["test_id"], *mutated]),
        _number(headline["duration_seconds"], "{:.1f} s"),
        _cpu(headline),
        _number(headline["gpu_energy_total_joules"], "{:.1f}"),
        "\n".join(metrics),
        "-" if share is None else f"{share:.0%}",
        headline["verdict"] + (f", {flags} flag{'s' * (flags > 1)}" if flags else ""),
    ]


def _cpu(headline: Mapping[str, Any]) -> str:
    if headline["cpu_energy_total_joules"] is not None:
        return _number(headline["cpu_energy_total_joules"], "{:.1f}")
    return _number(headline["cpu_energy_estimated_joules"], "~{:.0f}")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
