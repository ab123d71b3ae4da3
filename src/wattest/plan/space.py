"""The space of mutants: how many are left exactly, and draws that never come twice."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from random import Random

from wattest.config.program import Hyperparameter, Value
from wattest.errors import ConfigurationError
from wattest.plan.distribution import Distribution, choose, distribution_of, draw_outside

MutantKey = tuple[Value, ...]

_TRIES = 200
_LEAST_WEIGHT = 1e-300


class SpaceExhausted(ConfigurationError):
    """Fewer distinct mutants exist than were asked for.

    Attributes:
        asked: how many were asked for.
        available: how many there are.
    """

    def __init__(self, text: str, *, asked: int, available: int) -> None:
        super().__init__([text])
        self.asked = asked
        self.available = available


class Space:
    """All mutants of some parameters, less the default, those taken, and those drawn already."""

    def __init__(
        self,
        parameters: Sequence[Hyperparameter],
        taken: Iterable[tuple[Value | None, ...]],
        history: frozenset[tuple[Value | None, ...]] = frozenset(),
    ) -> None:
        self.names = tuple(parameter.name for parameter in parameters)
        self._distributions = tuple(distribution_of(parameter) for parameter in parameters)
        self.size = math.prod(each.count for each in self._distributions)
        default = _within(self._distributions, [tuple(each.default for each in parameters)])
        # A dict keeps the order of insertion, on which the draws of `_draw_remaining` depend.
        earlier = sorted(
            [*_within(self._distributions, taken), *_past_within(self._distributions, history)]
        )
        self._gone: dict[MutantKey, None] = dict.fromkeys([*default, *earlier])
        self._holds_default = bool(default)
        self._earlier = len(self._gone) - len(default)

    @property
    def available(self) -> int:
        """Number of distinct mutants that are left, exactly."""
        return self.size - len(self._gone)

    def require(self, asked: int) -> None:
        """Check that `asked` mutants are left.

        Raises:
            SpaceExhausted: there are fewer; the message has the numbers.
        """
        if asked > self.available:
            raise SpaceExhausted(self._shortage(asked), asked=asked, available=self.available)

    def take(self, point: Sequence[float]) -> MutantKey | None:
        """Take the mutant at a point of the unit cube; None if it is not there any more."""
        mutant = tuple(
            each.quantile(unit) for each, unit in zip(self._distributions, point, strict=True)
        )
        if mutant in self._gone:
            return None
        self._gone[mutant] = None
        return mutant

    def draw(self, random: Random) -> MutantKey:
        """Take a mutant at random: with the probabilities of the parameters, among those left.

        At least one must be left. Most draws hit at once; after many misses in a row the mutant
        is drawn from what remains, coordinate by coordinate, with the same probabilities.
        """
        for _ in range(_TRIES):
            mutant = self.take([random.random() for _ in self._distributions])
            if mutant is not None:
                return mutant
        mutant = self._draw_remaining(random)
        self._gone[mutant] = None
        return mutant

    def _draw_remaining(self, random: Random) -> MutantKey:
        gone: Collection[MutantKey] = self._gone
        drawn: list[Value] = []
        for index, each in enumerate(self._distributions):
            if not gone:
                drawn.append(each.quantile(random.random()))
                continue
            branches: dict[Value, list[MutantKey]] = {}
            for mutant in gone:
                branches.setdefault(mutant[index], []).append(mutant)
            tail_size = math.prod(rest.count for rest in self._distributions[index + 1 :])
            options: list[Value | None] = []
            weights: list[float] = []
            for branch, members in branches.items():
                if len(members) < tail_size:
                    options.append(branch)
                    weights.append(each.mass(branch) * self._mass_left(members, index + 1))
            if len(branches) < each.count:
                options.append(None)
                weights.append(1 - math.fsum(map(each.mass, branches)))
            value = choose(options, [max(weight, _LEAST_WEIGHT) for weight in weights], random)
            drawn.append(draw_outside(each, branches, random) if value is None else value)
            gone = () if value is None else branches[value]
        return tuple(drawn)

    def _mass_left(self, gone: Collection[MutantKey], start: int) -> float:
        """Return the probability that the coordinates from `start` on are none of `gone`."""
        rest = self._distributions[start:]
        return 1 - math.fsum(
            math.prod(each.mass(value) for each, value in zip(rest, mutant[start:], strict=True))
            for mutant in gone
        )

    def _shortage(self, asked: int) -> str:
        taken = len(self._gone) - self._holds_default - self._earlier
        less = ["1 is the default"] * self._holds_default
        less += [f"{self._earlier} taken by earlier experiments"] * bool(self._earlier)
        less += [f"{taken} drawn already"] * bool(taken)
        detail = f" ({self.size} in all, of which {', '.join(less)})" if less else ""
        return (
            f"only {self.available} distinct mutants of {', '.join(self.names) or 'nothing'} exist,"
            f" {asked} were asked for{detail};"
            " ask for fewer, mutate more names, or widen the ranges in the registry"
        )


def _within(
    distributions: Sequence[Distribution], mutants: Iterable[tuple[Value | None, ...]]
) -> list[MutantKey]:
    """Return those `mutants` that a space of these distributions holds, each once, ascending."""
    found = set()
    for mutant in mutants:
        if len(mutant) != len(distributions):
            raise ValueError(f"{mutant!r} does not have one value for each mutated name")
        within = zip(distributions, mutant, strict=True)
        if all(each.contains(value) for each, value in within):
            found.add(tuple(value for value in mutant if value is not None))
    return sorted(found)


@lru_cache(maxsize=64)
def _past_within(
    distributions: tuple[Distribution, ...], history: frozenset[tuple[Value | None, ...]]
) -> list[MutantKey]:
    """Remember the answer: a history is long, and the same for many entries."""
    return _within(distributions, history)
