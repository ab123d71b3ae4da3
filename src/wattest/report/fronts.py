"""Energy against metric: which configurations nobody beats in both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from wattest.report.model import Front, FrontPoint
from wattest.report.runs import Arm, Quantity, Run
from wattest.report.soundness import campaigns_fault, points_only, runs_refusal
from wattest.report.statistics import pooled_variance
from wattest.report.studies import (
    Material,
    Options,
    amount,
    by_configuration,
    label_of,
    mean_of,
    varied_names,
)

_ONE_SIDED = 0.975


@dataclass(frozen=True)
class _Spot:
    """A configuration: the logarithm of its energy, and its metric, larger is better."""

    runs: Sequence[Run]
    energies: Sequence[float]
    metrics: Sequence[float]
    cost: float
    gain: float


@dataclass(frozen=True)
class _Noise:
    """Variance within configurations, and Student's t for its degrees of freedom."""

    variance: float
    quantile: float

    def margin(self, one: int, other: int) -> float:
        return self.quantile * math.sqrt(self.variance * (1 / one + 1 / other))


def front_of(
    material: Material, arm: Arm, energy: Quantity, metric: Quantity, options: Options
) -> Front | None:
    """Return the front of an arm's configurations; None where none has both numbers."""
    spots = list(_spots(material.of_arm(arm), energy, metric))
    if not spots:
        return None
    runs = list(chain.from_iterable(spot.runs for spot in spots))
    unsound = points_only(runs, options.across) or campaigns_fault(runs)
    if refusal := runs_refusal(runs, options.across):
        return Front(energy, metric, (), refusal)
    if metric.better is None:
        unsound = f"which way of {metric.title} is better is not told: --better {metric.title}=…"
    noises = None if unsound else _noises(spots)
    names = varied_names(runs)
    points = tuple(
        FrontPoint(
            label_of(spot.runs[0], names),
            arm,
            mean_of(spot.energies, "ratio"),
            mean_of(spot.metrics, "difference"),
            len(spot.runs),
            metric.better is not None and not any(_beats(one, spot) for one in spots),
            noises is not None and any(_surely_beats(one, spot, noises) for one in spots),
        )
        for spot in spots
    )
    if unsound is None and noises is None:
        unsound = "no configuration was repeated, so none is surely dominated"
    return Front(energy, metric, points, unsound)


def _spots(runs: Sequence[Run], energy: Quantity, metric: Quantity) -> Iterator[_Spot]:
    sign = -1 if metric.better == "lower" else 1
    for group in by_configuration(runs).values():
        both = [(amount(run, energy), amount(run, metric), run) for run in group]
        whole = [(e, m, run) for e, m, run in both if e is not None and m is not None]
        if whole:
            energies, metrics = [e for e, _, _ in whole], [m for _, m, _ in whole]
            cost = math.log(mean_of(energies, "ratio"))
            gain = sign * mean_of(metrics, "difference")
            yield _Spot([run for *_, run in whole], energies, metrics, cost, gain)


def _noises(spots: Sequence[_Spot]) -> tuple[_Noise, _Noise] | None:
    """Return the noise of costs and gains; None where nothing was repeated."""
    from scipy.special import stdtrit

    costs = pooled_variance([list(map(math.log, spot.energies)) for spot in spots])
    gains = pooled_variance([spot.metrics for spot in spots])
    if costs is None or gains is None:
        return None
    return (
        _Noise(costs[0], float(stdtrit(costs[1], _ONE_SIDED))),
        _Noise(gains[0], float(stdtrit(gains[1], _ONE_SIDED))),
    )


def _beats(one: _Spot, other: _Spot) -> bool:
    """Tell whether a configuration is at least as good in both means, and better in one."""
    at_least = one.cost <= other.cost and one.gain >= other.gain
    return at_least and (one.cost < other.cost or one.gain > other.gain)


def _surely_beats(one: _Spot, other: _Spot, noises: tuple[_Noise, _Noise]) -> bool:
    """Tell whether it does so beyond what repetitions scatter."""
    if not _beats(one, other):
        return False
    counts = len(one.runs), len(other.runs)
    cheaper = other.cost - one.cost - noises[0].margin(*counts)
    better = one.gain - other.gain - noises[1].margin(*counts)
    return min(cheaper, better) >= 0 and max(cheaper, better) > 0
