"""A test's budget of energy, as its marker states it, and whether its windows keep to it."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from wattest.config.suggest import near_miss
from wattest.pytest_energy.meter import DOMAINS, MeasuredWindow

_REPEAT_MAX = 1000
_INTERVAL_LEAST = 3


@dataclass(frozen=True)
class Estimate:
    """Joules of one domain over all repetitions of a call.

    `low` and `high` are the 95 % interval of the mean (Student-t over the repetitions); None with
    fewer than three. `values` holds the joules of each repetition.
    """

    values: tuple[float, ...]
    mean: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def over(cls, values: Sequence[float]) -> Estimate:
        """Return the mean with its interval."""
        mean = statistics.fmean(values)
        if len(values) < _INTERVAL_LEAST:
            return cls(tuple(values), mean)
        from scipy.stats import t

        half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
        return cls(tuple(values), mean, float(mean - half), float(mean + half))

    @property
    def lower_end(self) -> float:
        """What must be above a budget to exceed it: two repetitions must both be."""
        return min(self.values) if self.low is None else self.low

    def __str__(self) -> str:
        if len(self.values) == 1:
            return f"{self.mean:.4g} J"
        if self.low is None:
            return f"{self.mean:.4g} J in the mean of {len(self.values)} (no interval below 3)"
        return f"{self.mean:.4g} J [{self.low:.4g}, {self.high:.4g}] over {len(self.values)} calls"


@dataclass(frozen=True)
class Verdict:
    """What came of a budget: sentences on what exceeds it, and on what could not be checked."""

    budget: Mapping[str, float | None]
    exceeded: tuple[str, ...]
    unchecked: tuple[str, ...]


@dataclass(frozen=True)
class Budget:
    """Joules that a call may use at most, None where there is no limit, and how often to call."""

    gpu_joules: float | None = None
    cpu_joules: float | None = None
    repeat: int = 1

    @classmethod
    def of(cls, arguments: Sequence[object], named: Mapping[str, Any]) -> tuple[Budget, str]:
        """Return the budget that a marker states, and what is wrong with it; empty if nothing."""
        known = [field.name for field in dataclasses.fields(cls)]
        if arguments:
            return cls(), f"name its arguments: {', '.join(known)}"
        for name in named:
            if name not in known:
                meant = near_miss(name, known)
                hint = f"did you mean {meant!r}?" if meant else f"it takes {', '.join(known)}"
                return cls(), f"{name!r} is no argument; {hint}"
        budget = cls(**named)
        if faults := "; ".join(budget._faults()):
            return budget, faults
        # A number of numpy cannot be sent to another process.
        return cls(_plain(budget.gpu_joules), _plain(budget.cpu_joules), budget.repeat), ""

    def _faults(self) -> Iterator[str]:
        for domain in DOMAINS:
            if not _is_limit(limit := getattr(self, domain)):
                yield f"{domain}: must be a number of joules above 0, is {limit!r}"
        if type(self.repeat) is not int or not 1 <= self.repeat <= _REPEAT_MAX:
            most = _REPEAT_MAX
            yield f"repeat: must be a whole number from 1 to {most}, is {self.repeat!r}"

    def judge(self, windows: Sequence[MeasuredWindow]) -> Verdict:
        """Return what exceeds the budget by the lower end of its interval, and what is unknown."""
        exceeded, unchecked = [], []
        limits = {domain: getattr(self, domain) for domain in DOMAINS}
        for domain, limit in limits.items():
            if limit is None:
                continue
            values = [getattr(window, domain) for window in windows]
            name = domain.partition("_")[0].upper()
            if None in values:
                reason = windows[values.index(None)].missing.get(domain, "nothing was measured")
                unchecked.append(
                    f"the budget of {limit:g} J for the {name} was not checked: {reason}"
                )
            elif (estimate := Estimate.over(values)).lower_end > limit:
                exceeded.append(f"{name} energy: {estimate} is above the budget of {limit:g} J")
        return Verdict(limits, tuple(exceeded), tuple(unchecked))


def _plain(limit: float | None) -> float | None:
    return None if limit is None else float(limit)


def _is_limit(value: object) -> bool:
    if value is None:
        return True
    # What numpy gives is real, too.
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return 0 < float(value) < math.inf
    except OverflowError:
        return False
