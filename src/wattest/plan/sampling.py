"""Mutants drawn at random, none twice: from what each name is drawn, and what is left of it all.

One seed gives the same mutants on every platform: `Random.random`, whose sequence Python documents
as stable, arithmetic of IEEE 754, and `decimal` for exponentials and logarithms, whose last bit
differs between C libraries.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from decimal import Context, Decimal
from functools import lru_cache, reduce
from random import Random

from wattest.config.program import Hyperparameter, Value
from wattest.errors import ConfigurationError

# The values of one mutant in the order of its names; None where a name has no default.
MutantKey = tuple[Value | None, ...]
DrawnKey = tuple[Value, ...]

_MOST_LISTED = 100_000
_TRIES_BEFORE_LISTING = 200
_TRIES = 2 * _MOST_LISTED
_BELOW_ONE = 1 - 2.0**-53
_EXACT = Context(prec=40)
_REMEDY = "ask for fewer, mutate more names, or widen the ranges in the registry"


def derive_seed(root_seed: int, *parts: str) -> int:
    """Return the seed of the part of a plan that `parts` name: 64 bits of a SHA-256 digest.

    Different parts get independent seeds, so that none of them depends on what the others draw.
    """
    digest = hashlib.sha256()
    for part in (str(root_seed), *parts):
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return int.from_bytes(digest.digest()[:8], "big")


class Space:
    """All mutants of some parameters but their default and what is gone; each is taken once."""

    def __init__(
        self, parameters: Sequence[Hyperparameter], gone: Iterable[MutantKey], random: Random
    ) -> None:
        self.dimensions = len(parameters)
        self.random = random
        self._parameters = parameters
        self._default = tuple(parameter.default for parameter in parameters)
        self._gone = {self._default, *gone}
        self._values = [values_of(parameter) for parameter in parameters]
        self._size: float = math.prod(len(values or ()) for values in self._values)
        if None in self._values or self._size > _MOST_LISTED:
            self._size = math.inf
        self._candidates = self._in_random_order()

    def available(self) -> float:
        """Return how many mutants are left, exactly; infinite where they cannot be listed."""
        if self._size == math.inf:
            return math.inf
        return sum(key not in self._gone for key in self._every())

    def require(self, asked: int) -> None:
        """Check that `asked` mutants are left, before the first is taken.

        Raises:
            ConfigurationError: there are fewer; the message has the numbers.
        """
        if asked + len(self._gone) <= self._size or asked <= (left := self.available()):
            return
        has_default = any(key == self._default for key in self._every())
        taken = self._size - left - has_default
        parts = {"1 is the default": has_default, f"{taken} taken by earlier experiments": taken}
        less = ", ".join(text for text, number in parts.items() if number)
        detail = f" ({self._size} in all, of which {less})" if less else ""
        text = f"only {left} distinct mutants of {self._names} exist, {asked} were asked for"
        raise ConfigurationError([f"{text}{detail}; {_REMEDY}"])

    def at(self, point: Iterable[float]) -> DrawnKey:
        """Return the mutant at a point of the unit cube."""
        pairs = zip(self._parameters, point, strict=True)
        return tuple(quantile(parameter, unit) for parameter, unit in pairs)

    def take(self, candidates: Iterable[DrawnKey]) -> DrawnKey | None:
        """Take the first of these mutants that is not gone."""
        for key in candidates:
            if key not in self._gone:
                self._gone.add(key)
                return key
        return None

    def draw(self) -> DrawnKey:
        """Take a mutant at random: with the probabilities of the parameters, among those left.

        Raises:
            ConfigurationError: all were gone, many times in a row.
        """
        key = self.take(itertools.islice(self._candidates, _TRIES))
        if key is None:
            text = f"no further distinct mutant of {self._names} came up in {_TRIES} draws"
            raise ConfigurationError([f"{text}; {_REMEDY}"])
        return key

    def _in_random_order(self) -> Iterator[DrawnKey]:
        """Yield independent draws, or after many misses in a row all that can be listed, once.

        Then every mutant gets an exponential clock with its probability as rate; in the order in
        which the clocks ring they are a weighted draw without replacement, exactly (Efraimidis
        and Spirakis 2006).
        """
        misses = 0
        while self._size == math.inf or misses < _TRIES_BEFORE_LISTING:
            key = self.at([self.random.random() for _ in self._parameters])
            misses = misses + 1 if key in self._gone else 0
            yield key
        rates = [
            {value: _probability(parameter, value) for value in values or ()}
            for parameter, values in zip(self._parameters, self._values, strict=True)
        ]
        # One rate after the other: their product may be too small for a float.
        clocks = {
            key: reduce(
                operator.truediv, map(operator.getitem, rates, key), _exponential(self.random)
            )
            for key in self._every()
        }
        yield from sorted(clocks, key=clocks.__getitem__)

    def _every(self) -> Iterator[DrawnKey]:
        return itertools.product(*(values or () for values in self._values))

    @property
    def _names(self) -> str:
        return ", ".join(parameter.name for parameter in self._parameters) or "nothing"


def quantile(parameter: Hyperparameter, unit: float) -> Value:
    """Return the value of `parameter` at `unit` in [0, 1].

    An exact zero comes first, with its probability. Floats get 12 significant digits, so that the
    record, the command line and a redraw elsewhere agree. Log-uniform integers are numbers of
    [minimum - 1/2, maximum + 1/2] rounded: the half at each end gives the outermost integers
    their full share.
    """
    zero_share, unit = parameter.zero_probability, min(unit, _BELOW_ONE)
    if unit < zero_share:
        return parameter.coerce(0)
    unit = min((unit - zero_share) / (1 - zero_share), _BELOW_ONE)
    if parameter.levels is not None:
        return parameter.levels[int(unit * len(parameter.levels))]
    low, high = parameter.minimum, parameter.maximum
    if parameter.distribution == "log_uniform":
        log_low, log_width = _logarithms(parameter)
        drawn = float(_EXACT.exp(_EXACT.fma(Decimal(unit), log_width, log_low)))
    elif parameter.kind == "int":
        drawn = low + int(unit * (high - low + 1))
    else:
        drawn = low * (1 - unit) + high * unit
    value = round(drawn) if parameter.kind == "int" else float(f"{drawn:.12g}")
    return min(max(value, low), high)


def values_of(parameter: Hyperparameter) -> Sequence[Value] | None:
    """Return every value that can be drawn; None for floats, and integers that are too many."""
    low, high, zero = parameter.minimum, parameter.maximum, parameter.coerce(0)
    if parameter.zero_probability == 1:
        return (zero,)
    values: Sequence[Value] = parameter.levels or (low,)
    if parameter.levels is None and low < high:
        if parameter.kind == "float" or high - low >= _MOST_LISTED:
            return None
        values = range(int(low), int(high) + 1)
    return [*values, zero] if parameter.zero_probability > 0 and zero not in values else values


def _probability(parameter: Hyperparameter, value: Value) -> float:
    """Return the probability of one of the values that can be listed."""
    share = 0.0
    if parameter.levels is not None:
        share = (value in parameter.levels) / len(parameter.levels)
    elif parameter.minimum <= value <= parameter.maximum:
        share = 1 / (parameter.maximum - parameter.minimum + 1)
        if share < 1 and parameter.kind == "int" and parameter.distribution == "log_uniform":
            width = _EXACT.subtract(_log(value, 0.5), _log(value, -0.5))
            share = float(_EXACT.divide(width, _logarithms(parameter)[1]))
    zero_share = parameter.zero_probability
    return (1 - zero_share) * share + (zero_share if value == 0 else 0.0)


@lru_cache(maxsize=1024)
def _logarithms(parameter: Hyperparameter) -> tuple[Decimal, Decimal]:
    """Return the logarithm of where a log-uniform parameter begins, and how far it reaches."""
    margin = 0.5 if parameter.kind == "int" else 0.0
    log_low = _log(parameter.minimum, -margin)
    return log_low, _EXACT.subtract(_log(parameter.maximum, margin), log_low)


def _log(value: Value, plus: float) -> Decimal:
    return _EXACT.ln(_EXACT.add(Decimal(value), Decimal(plus)))


def _exponential(random: Random) -> float:
    """Return an exponential variate of rate 1, by comparisons alone (von Neumann 1951).

    A run of falling uniform numbers that begins at x has an even number of falls with probability
    exp(-x); every run that has not adds 1 to the next.
    """
    whole = 0
    while True:
        first = last = random.random()
        falls = 0
        while (unit := random.random()) < last:
            last, falls = unit, falls + 1
        if falls % 2 == 0:
            return whole + first
        whole += 1
