"""What is sound at n = 3 … 20: pure functions from numbers to estimates.

Every interval is a 95 % one by Student's t. Ratios and slopes of positive amounts are computed on
logarithms, so that intervals of a ratio are never below 0. No value is left out for being odd.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, variance
from typing import Any

from wattest.report.model import Estimate
from wattest.report.runs import Kind

LEVEL = 0.95
POWER = 0.80
LEAST_UNITS = 3
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Scatter:
    """A mean with the variance of that mean, and the degrees of freedom behind it."""

    mean: float
    variance: float
    freedom: float


def paired(
    values: Sequence[float], kind: Kind, unit: str = "pairs", margin: float | None = None
) -> Estimate:
    """Return the geometric mean of ratios, or the mean of differences, over independent units.

    `margin` is that of equivalence, as a share of 1; ratios only.
    """
    method = f"Student t on {'logarithms of ratios' if kind == 'ratio' else 'differences'}"
    numbers = [math.log(value) for value in values] if kind == "ratio" else list(values)
    plain = Estimate(None, n=len(values), unit=unit, kind=kind, method=method)
    if not numbers:
        return replace(plain, reason=f"no {unit}")
    center = fmean(numbers)
    plain = replace(plain, value=_back(center, kind))
    if len(numbers) < LEAST_UNITS:
        return replace(plain, reason=f"{counted(len(numbers), unit)}: an interval needs 3")
    if _are_equal(numbers):
        return replace(plain, reason=f"all {len(numbers)} values are equal: no interval")
    spread = variance(numbers) / len(numbers)
    return interval(Scatter(center, spread, len(numbers) - 1), plain, margin)


def interval(scatter: Scatter, plain: Estimate, margin: float | None = None) -> Estimate:
    """Return `plain` with value, interval, smallest effect, p-value, and equivalence if asked for.

    Of a ratio the scatter is that of its logarithm.
    """
    from scipy.special import stdtr, stdtrit

    error = math.sqrt(scatter.variance)
    half = float(stdtrit(scatter.freedom, (1 + LEVEL) / 2)) * error
    kind = plain.kind
    return replace(
        plain,
        value=_back(scatter.mean, kind),
        low=_back(scatter.mean - half, kind),
        high=_back(scatter.mean + half, kind),
        smallest=smallest_effect(error, scatter.freedom, kind),
        equivalence=None if margin is None or kind != "ratio" else _equivalence(scatter, margin),
        p_value=float(2 * stdtr(scatter.freedom, -abs(scatter.mean) / error)),
    )


def smallest_effect(error: float, freedom: float, kind: Kind) -> float:
    """Return the smallest true effect that is found with 80 % power, two-sided at 5 %.

    The noncentrality of Student's t, times the standard error; of a ratio, as a share above 1.
    """
    from scipy.special import nctdtrinc, stdtrit

    limit = stdtrit(freedom, (1 + LEVEL) / 2)
    effect = float(nctdtrinc(freedom, 1 - POWER, limit)) * error
    return math.expm1(effect) if kind == "ratio" else effect


def slopes(
    columns: Sequence[Sequence[float]], outcomes: Sequence[float], kind: Kind = "ratio"
) -> list[Estimate]:
    """Return the least-squares coefficient of each column, with a constant beside them.

    Args:
        columns: one for each name, of one value for each configuration: log₂ of it, or raw.
        outcomes: log₂ of a positive amount (`ratio`: the estimate is the factor for one step of
            the column), or the amount itself (`difference`).
        kind: of the outcomes.
    """
    import numpy as np

    count, names = len(outcomes), len(columns)
    plain = Estimate(None, n=count, kind=kind, method="least squares over configuration means")
    reason = _too_few(names, count)
    if count <= names or not _are_apart(columns):
        told = reason or "effects cannot be told apart: hyper-parameters vary together"
        return [replace(plain, reason=told)] * names
    if _are_equal(outcomes):
        told = f"all {count} values are equal: no interval"
        return [replace(plain, value=_back(0.0, kind), reason=told)] * names
    centers = [fmean(column) for column in columns]
    shifted = [[x - mid for x in column] for column, mid in zip(columns, centers, strict=True)]
    table = np.column_stack([np.ones(count), *shifted])
    scale = math.log(2) if kind == "ratio" else 1.0
    found = np.linalg.lstsq(table, np.asarray(outcomes) * scale, rcond=None)[0]
    if reason:
        return [replace(plain, value=_back(float(b), kind), reason=reason) for b in found[1:]]
    rest = np.asarray(outcomes) * scale - table @ found
    freedom = count - names - 1
    noise = float(rest @ rest) / freedom
    if math.sqrt(noise) <= _ROUNDING * max(1.0, float(np.max(np.abs(outcomes)))):
        reason = "no scatter around the fit: no interval"
        return [replace(plain, value=_back(float(b), kind), reason=reason) for b in found[1:]]
    inverse = np.linalg.inv(table.T @ table)
    return [
        interval(Scatter(float(found[at]), noise * float(inverse[at, at]), freedom), plain)
        for at in range(1, names + 1)
    ]


def _too_few(names: int, count: int) -> str | None:
    if count >= names + LEAST_UNITS:
        return None
    need = "needs" if names == 1 else "need"
    effects = counted(names, "effects")
    return f"{counted(count, 'configurations')}: {effects} {need} {names + LEAST_UNITS}"


def _are_apart(columns: Sequence[Sequence[float]]) -> bool:
    """Tell whether the columns have full rank beside a constant."""
    import numpy as np

    table = np.asarray(columns, dtype=float)
    table = table - table.mean(axis=1, keepdims=True)
    spreads = np.linalg.norm(table, axis=1, keepdims=True)
    return bool(spreads.all() and np.linalg.matrix_rank(table / spreads, tol=1e-8) == len(columns))


def combined(scatters: Iterable[Scatter], mean: float) -> Scatter:
    """Return a sum (or difference) with this mean of independent parts.

    Degrees of freedom by Welch and Satterthwaite.
    """
    parts = [one for one in scatters if one.variance > 0]
    total = sum(one.variance for one in parts)
    if not parts:
        return Scatter(mean, 0.0, 1.0)
    freedom = total**2 / sum(one.variance**2 / one.freedom for one in parts)
    return Scatter(mean, total, freedom)


def scatter_of(numbers: Sequence[float]) -> Scatter:
    """Return the mean of independent numbers, of which there are at least two."""
    return Scatter(fmean(numbers), variance(numbers) / len(numbers), len(numbers) - 1)


def pooled_variance(groups: Iterable[Sequence[float]]) -> tuple[float, int] | None:
    """Return the variance within groups of repetitions, and its degrees of freedom, if any."""
    repeated = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in repeated)
    if not freedom:
        return None
    return sum(variance(group) * (len(group) - 1) for group in repeated) / freedom, freedom


def with_holm(estimates: Mapping[Any, Estimate], asked: bool = True) -> dict[Any, Estimate]:
    """Return the estimates of one table with p-values by Holm's step-down correction, or none."""
    told = {key: one.p_value for key, one in estimates.items() if asked and one.p_value is not None}
    adjusted: dict[Any, float] = {}
    largest = 0.0
    for rank, (key, value) in enumerate(sorted(told.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, value * (len(told) - rank)))
        adjusted[key] = largest
    return {key: replace(one, p_value=adjusted.get(key)) for key, one in estimates.items()}


def counted(count: int, plural: str) -> str:
    """Return `1 pair`, `2 pairs`."""
    return f"{count} {plural[:-1] if count == 1 else plural}"


def _equivalence(scatter: Scatter, margin: float) -> str:
    """Return what two one-sided tests at 5 % say: whether the 90 % interval is within the margin.

    The margin reaches from 1/(1 + margin) to 1 + margin.
    """
    from scipy.special import stdtrit

    half = float(stdtrit(scatter.freedom, 0.95)) * math.sqrt(scatter.variance)
    limit = math.log1p(margin)
    within = -limit < scatter.mean - half and scatter.mean + half < limit
    return f"{'equivalent' if within else 'not shown to be equivalent'} within {100 * margin:g} %"


def _are_equal(numbers: Sequence[float]) -> bool:
    return max(numbers) - min(numbers) <= _ROUNDING * max(1.0, *map(abs, numbers))


def _back(number: float, kind: Kind) -> float:
    return math.exp(number) if kind == "ratio" else number
