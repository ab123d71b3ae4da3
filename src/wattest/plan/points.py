"""Points of the unit cube that cover it evenly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

_SOBOL_BITS = 32
_UNIT_BITS = 53


def latin_hypercube(
    dimensions: int, count: int, random: Random
) -> Iterator[tuple[list[int], Sequence[float]]]:
    """Yield `count` strata (one index in each dimension) with a random point in each.

    McKay, Beckman and Conover 1979: every dimension is cut into `count` equally likely strata,
    and each stratum is used once. The points are those of `scipy.stats.qmc.LatinHypercube`, so
    they are the same for the same seed and the same scipy and numpy, which a record names.
    """
    from scipy.stats import qmc

    engine = qmc.LatinHypercube(dimensions, seed=int(random.random() * 2**_UNIT_BITS))
    for point in engine.random(count).tolist():
        yield [min(int(unit * count), count - 1) for unit in point], point


def point_within(strata: Sequence[int], count: int, random: Random) -> list[float]:
    """Return a random point of the unit cube in the given strata of `count` in each dimension."""
    return [_below_one((stratum + random.random()) / count) for stratum in strata]


def sobol(dimensions: int, count: int, random: Random) -> Iterator[list[float]]:
    """Yield points of a Sobol' sequence without end; `count` is how many are likely to be used.

    The direction numbers are those of Joe and Kuo 2008 as in `scipy.stats.qmc`; the scrambling is
    a random digital shift (exclusive-or of all coordinates of one dimension with one random
    number), which keeps the net properties and depends on no version of numpy.
    """
    from scipy.stats import qmc

    shifts = [int(random.random() * 2**_UNIT_BITS) for _ in range(dimensions)]
    engine = qmc.Sobol(dimensions, scramble=False, bits=_SOBOL_BITS)
    block = max(count - 1, 1).bit_length()
    while True:
        for point in engine.random_base2(block).tolist():
            yield [
                (int(unit * 2**_UNIT_BITS) ^ shift) / 2**_UNIT_BITS
                for unit, shift in zip(point, shifts, strict=True)
            ]
        block = (engine.num_generated - 1).bit_length()


def _below_one(unit: float) -> float:
    return min(unit, 1 - 2.0**-_UNIT_BITS)
