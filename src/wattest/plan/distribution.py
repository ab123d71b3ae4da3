"""From what a hyper-parameter is drawn: its quantiles, its masses, and how many values it has.

The same seed gives the same bits on every platform: see `wattest.plan.doubles`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Protocol, TypeVar

from wattest.plan.doubles import exp, logarithms, ordinal

if TYPE_CHECKING:
    from wattest.config.program import Hyperparameter, Value

_UNIT_BITS = 53
_BELOW_ONE = 1 - 2.0**-_UNIT_BITS
_TRIES = 200

Option = TypeVar("Option")


class Distribution(Protocol):
    """How the values of one hyper-parameter are drawn."""

    @property
    def count(self) -> int:
        """Number of distinct values; for floats, of all doubles in the range."""

    def quantile(self, unit: float) -> Value:
        """Return the value at `unit` in [0, 1); it never decreases within the range."""

    def mass(self, value: Value) -> float:
        """Return the probability of drawing exactly `value`, one of the distinct values."""

    def contains(self, value: Value | None) -> bool:
        """Tell whether `value` can be drawn."""

    def values(self) -> Iterator[Value]:
        """Yield every distinct value once."""


@dataclass(frozen=True)
class _UniformInts:
    """Integers from `minimum` to `maximum`, both included, each equally likely."""

    minimum: int
    maximum: int

    @property
    def count(self) -> int:
        return self.maximum - self.minimum + 1

    def quantile(self, unit: float) -> Value:
        return self.minimum + (int(unit * 2**_UNIT_BITS) * self.count >> _UNIT_BITS)

    def mass(self, value: Value) -> float:
        return 1 / self.count

    def contains(self, value: Value | None) -> bool:
        return value is not None and self.minimum <= value <= self.maximum and value == int(value)

    def values(self) -> Iterator[Value]:
        yield from range(self.minimum, self.maximum + 1)


@dataclass(frozen=True)
class _LogUniformInts(_UniformInts):
    """Integers to which a log-uniform number in [minimum - 1/2, maximum + 1/2) is rounded.

    The half at each end gives the outermost integers their full share.
    """

    log_low: float
    log_width: float

    def quantile(self, unit: float) -> Value:
        value = int(exp(self.log_low + unit * self.log_width) + 0.5)
        return min(max(value, self.minimum), self.maximum)

    def mass(self, value: Value) -> float:
        return math.log1p(1 / (value - 0.5)) / self.log_width


@dataclass(frozen=True)
class _UniformFloats:
    """Doubles in [minimum, maximum]."""

    minimum: float
    maximum: float

    @property
    def count(self) -> int:
        return ordinal(self.maximum) - ordinal(self.minimum) + 1

    def quantile(self, unit: float) -> Value:
        return self._clip(self.minimum * (1 - unit) + self.maximum * unit)

    def mass(self, value: Value) -> float:
        return 1 / self.count

    def contains(self, value: Value | None) -> bool:
        return value is not None and self.minimum <= value <= self.maximum and value == float(value)

    def values(self) -> Iterator[Value]:
        value = self.minimum
        while value <= self.maximum:
            yield value + 0.0
            value = math.nextafter(value, math.inf)

    def _clip(self, value: float) -> float:
        return min(max(value, self.minimum), self.maximum) + 0.0


@dataclass(frozen=True)
class _LogUniformFloats(_UniformFloats):
    """Doubles in [minimum, maximum] whose logarithm is uniform."""

    log_low: float
    log_width: float

    def quantile(self, unit: float) -> Value:
        return self._clip(exp(self.log_low + unit * self.log_width))


@dataclass(frozen=True)
class _Levels:
    """The given values and no others, each equally likely."""

    levels: tuple[Value, ...]

    @property
    def count(self) -> int:
        return len(self.levels)

    def quantile(self, unit: float) -> Value:
        return self.levels[int(unit * len(self.levels))]

    def mass(self, value: Value) -> float:
        return 1 / len(self.levels)

    def contains(self, value: Value | None) -> bool:
        return value in self.levels

    def values(self) -> Iterator[Value]:
        yield from self.levels


@dataclass(frozen=True)
class _WithZero:
    """An exact `zero` with `probability`, else a value of `base`."""

    base: Distribution
    probability: float
    zero: Value

    @property
    def count(self) -> int:
        return self.base.count + (not self.base.contains(self.zero))

    def quantile(self, unit: float) -> Value:
        if unit < self.probability:
            return self.zero
        rest = (unit - self.probability) / (1 - self.probability)
        return self.base.quantile(min(rest, _BELOW_ONE))

    def mass(self, value: Value) -> float:
        drawn = self.base.mass(value) if self.base.contains(value) else 0.0
        return (1 - self.probability) * drawn + (self.probability if value == 0 else 0.0)

    def contains(self, value: Value | None) -> bool:
        return value == 0 or self.base.contains(value)

    def values(self) -> Iterator[Value]:
        yield self.zero
        yield from (value for value in self.base.values() if value != 0)


@lru_cache(maxsize=1024)
def distribution_of(parameter: Hyperparameter) -> Distribution:
    """Return the distribution of `parameter`, which must be without faults."""
    number = int if parameter.kind == "int" else float
    zero, share = number(0), parameter.zero_probability
    if share == 1:
        return _Levels((zero,))
    base: Distribution
    if parameter.levels is not None:
        base = _Levels(tuple(number(level) + zero for level in parameter.levels))
    elif parameter.kind == "int":
        base = _ints(int(parameter.minimum), int(parameter.maximum), parameter.distribution)
    else:
        base = _floats(float(parameter.minimum), float(parameter.maximum), parameter.distribution)
    return _WithZero(base, share, zero) if share > 0 else base


def draw_outside(distribution: Distribution, closed: Collection[Value], random: Random) -> Value:
    """Return a value that is not in `closed`, with the probabilities that remain.

    At least one such value must exist. All of them are listed only if drawing hits `closed`
    `_TRIES` times in a row: then `closed` holds nearly all of them.
    """
    if isinstance(distribution, _WithZero) and distribution.zero in closed:
        distribution = distribution.base
    for _ in range(_TRIES):
        value = distribution.quantile(random.random())
        if value not in closed:
            return value
    rest = [value for value in distribution.values() if value not in closed]
    return choose(rest, [distribution.mass(value) for value in rest], random)


def choose(options: Sequence[Option], weights: Sequence[float], random: Random) -> Option:
    """Return one of `options` with probability in proportion to its weight."""
    point = random.random() * math.fsum(weights)
    for option, weight in zip(options, weights, strict=True):
        if point < weight:
            return option
        point -= weight
    return options[-1]


def _ints(minimum: int, maximum: int, distribution: str) -> Distribution:
    if distribution == "uniform":
        return _UniformInts(minimum, maximum)
    half = Decimal("0.5")
    return _LogUniformInts(minimum, maximum, *logarithms(minimum - half, maximum + half))


def _floats(minimum: float, maximum: float, distribution: str) -> Distribution:
    if distribution == "uniform":
        return _UniformFloats(minimum, maximum)
    return _LogUniformFloats(minimum, maximum, *logarithms(Decimal(minimum), Decimal(maximum)))
