"""What each epoch of a run took, as a table: time, energy, mean power, and how sure they are."""

from __future__ import annotations

from wattest.report.numbers import UNKNOWN, duration, joules, watts
from wattest.report.sheet import Epoch, Sheet

HEADINGS = ("epoch", "seen at", "took", "GPU", "GPU mean", "CPU", "CPU mean")


def epoch_table(sheet: Sheet) -> list[tuple[str, ...]]:
    """Return its rows, the headings first; empty where no epoch is told.

    A domain that no epoch has is left out. The last row is what the epochs leave of the window.
    """
    if not sheet.epochs:
        return []
    rows = [HEADINGS, *(_cells(one) for one in sheet.epochs)]
    has = [any(row[index] != UNKNOWN for row in rows[1:]) for index in range(len(HEADINGS))]
    kept = [index for index, one in enumerate(has) if one or index < 3]
    return [tuple(row[index] for index in kept) for row in rows]


def _cells(one: Epoch) -> tuple[str, ...]:
    late = one.uncertainty_seconds
    return (
        "rest" if one.number is None else f"{one.number:g}",
        UNKNOWN if one.seen_seconds is None else duration(one.seen_seconds),
        duration(one.seconds) + ("" if late is None else f" ±{late:.2g} s"),
        _energy(one.gpu_joules, one.gpu_uncertainty_joules),
        watts(one.gpu_watts),
        _energy(one.cpu_joules, one.cpu_uncertainty_joules),
        watts(one.cpu_watts),
    )


def _energy(used: float | None, wrong: float | None) -> str:
    return joules(used) + ("" if used is None or wrong is None else f" ±{joules(wrong)}")
