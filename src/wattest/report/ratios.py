"""Ratios of ratios, and differences of differences, between two campaigns: pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from wattest.report.model import Estimate
from wattest.report.statistics import (
    LEAST_UNITS,
    Scatter,
    combined,
    counted,
    interval,
    pooled_variance,
    scatter_of,
)


@dataclass(frozen=True)
class Unit:
    """One configuration: its numbers in A and in B, as logarithms where they are amounts."""

    label: str
    before: Sequence[float]
    after: Sequence[float]

    @property
    def change(self) -> float:
        """B minus A."""
        return fmean(self.after) - fmean(self.before)


def anchored(
    units: Sequence[Unit], anchor: Unit | None, plain: Estimate, margin: float | None
) -> Estimate:
    """Return the mean change of units, less that of the anchor; with an interval where it can be.

    With three configurations their changes scatter; with fewer, three runs a side of each do. The
    degrees of freedom of a sum are by Welch and Satterthwaite.
    """
    changes = [unit.change for unit in units]
    mean = fmean(changes) - (anchor.change if anchor else 0.0)
    method = "ratio of ratios through the anchor" if anchor else "ratio of the load's ratios"
    if plain.kind == "difference":
        method = method.replace("ratio of ratios", "difference of differences")
        method = method.replace("ratio of the load's ratios", "difference of the load's")
    plain = replace(plain, value=back(mean, plain), method=f"{method}, Student t")
    if len(units) >= LEAST_UNITS:
        parts = [scatter_of(changes)]
    elif all(min(len(one.before), len(one.after)) >= LEAST_UNITS for one in units):
        parts = [_share(scatter_of(side), len(units)) for one in units for side in
                 (one.before, one.after)]  # fmt: skip
    else:
        told = counted(len(units), "configurations")
        return replace(plain, reason=f"{told}: an interval needs 3, or 3 runs a side of each")
    if anchor is not None:
        parts += _anchor_scatters(units, anchor, changes)
    total = combined(parts, mean)
    if total.variance <= 0:
        return replace(plain, reason="all values are equal: no interval")
    return interval(total, plain, margin)


def _share(scatter: Scatter, count: int) -> Scatter:
    return replace(scatter, variance=scatter.variance / count**2)


def _anchor_scatters(
    units: Sequence[Unit], anchor: Unit, changes: Sequence[float]
) -> list[Scatter]:
    """Return how the anchor scatters: by its own runs, else as all repetitions, else as others."""
    sides = (anchor.before, anchor.after)
    if min(map(len, sides)) > 1:
        return [scatter_of(side) for side in sides]
    share = sum(1 / len(side) for side in sides)
    pooled = pooled_variance(side for one in (*units, anchor) for side in (one.before, one.after))
    if pooled is not None:
        return [Scatter(anchor.change, pooled[0] * share, pooled[1])]
    spread = scatter_of(changes)
    return [Scatter(anchor.change, spread.variance * len(changes), spread.freedom)]


def over_sessions(
    before: Sequence[float], after: Sequence[float], plain: Estimate, margin: float | None
) -> Estimate:
    """Return the change between means of sessions, of which there are at least three a side."""
    count = len(before) + len(after)
    plain = replace(plain, n=count, unit="sessions", method="Welch's t over sessions")
    total = combined([scatter_of(before), scatter_of(after)], fmean(after) - fmean(before))
    if total.variance <= 0:
        return replace(plain, reason="all values are equal: no interval")
    return interval(total, plain, margin)


def back(mean: float, plain: Estimate) -> float:
    """Return a mean as the number that it stands for: a ratio has been a logarithm."""
    return math.exp(mean) if plain.kind == "ratio" else mean
