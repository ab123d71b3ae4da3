"""The mutants of one entry by its design; see `wattest.config.design` for what each spreads.

A pure function of its arguments: what one entry draws depends on no other entry, on no global
random state and on no version of Python or numpy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from random import Random

from wattest.config.design import RANDOM, Design, with_levels
from wattest.config.program import Hyperparameter, Value
from wattest.errors import ConfigurationError
from wattest.plan.sampling import DrawnKey, MutantKey, Space, derive_seed

Mutant = dict[str, Value]
# The mutants with these names that earlier experiments have trained.
Past = Callable[[tuple[str, ...]], Collection[MutantKey]]

_TRIES = 200
_SOBOL_BITS = 32
_UNIT_BITS = 53


def draw(
    parameters: Sequence[Hyperparameter],
    count: int | None,
    seed: int,
    design: Design = RANDOM,
    taken: Collection[MutantKey] = (),
    past: Past = lambda names: (),
) -> tuple[list[Mutant], list[str]]:
    """Return `count` distinct mutants of `parameters`, and where the design could not be kept.

    No mutant equals the defaults as a whole (a null default equals nothing), or stands in `taken`
    or `past`. Only the combinations of a factorial design may hold the defaults: its levels are
    written out, and without one of its corners it would not be factorial.

    Args:
        parameters: what to mutate; their order gives the order of the names in each mutant.
        count: how many; None leaves it to the design: all there are where it is `factorial`, or
            `one_at_a_time` with levels of all names, else 1.
        seed: of this entry alone; see `derive_seed`.
        design: how the mutants are spread.
        taken: mutants as `mutant_key` gives them, which are not drawn again.
        past: further ones for a tuple of names; `one_at_a_time` asks for each name alone.

    Raises:
        ConfigurationError: there are fewer distinct mutants, and how many; or the design cannot
            take the count or the levels.
    """
    parameters = with_levels(parameters, design)
    if design.name == "one_at_a_time":
        return _one_at_a_time(parameters, count, seed, taken, past), []
    names = tuple(parameter.name for parameter in parameters)
    gone = {*taken, *past(names)}
    notes: list[str] = []
    if design.name == "factorial":
        keys = _factorial(parameters, count, gone)
    else:
        keys, notes = _points(design, Space(parameters, gone, Random(seed)), count or 1)
    return [dict(zip(names, key, strict=True)) for key in keys], notes


def most_mutants(parameters: Sequence[Hyperparameter], count: int | None, design: Design) -> int:
    """Return how many mutants `draw` would make at most, before it makes any."""
    levels = [len(design.levels.get(one.name, one.levels or ())) for one in parameters]
    if design.name == "factorial":
        return math.prod(levels)
    if design.name == "one_at_a_time" and count is None and all(levels):
        return sum(levels)
    return count or 1


def mutant_key(mutant: Mutant, parameters: Sequence[Hyperparameter]) -> MutantKey:
    """Return the values of `mutant` in the order of `parameters`, the default where it has none."""
    return tuple(mutant.get(parameter.name, parameter.default) for parameter in parameters)


def _points(design: Design, space: Space, count: int) -> tuple[list[DrawnKey], list[str]]:
    """Draw from the unit cube, by a design that covers it."""
    space.require(count)
    if design.name == "latin_hypercube":
        return _latin_hypercube(space, count)
    if design.name == "sobol":
        return _sobol(space, count)
    return [space.draw() for _ in range(count)], []


def _sobol(space: Space, count: int) -> tuple[list[DrawnKey], list[str]]:
    """Follow the sequence; where too many of its points in a row are taken, draw at random."""
    points = map(space.at, _sobol_points(space.dimensions, count, space.random))
    keys = []
    strays = 0
    for _ in range(count):
        key = space.take(itertools.islice(points, _TRIES))
        strays += key is None
        keys.append(key or space.draw())
    note = f"{strays} of {count} mutants lie off the Sobol' sequence: all its points are taken"
    return keys, [note] * bool(strays)


def _sobol_points(dimensions: int, count: int, random: Random) -> Iterator[list[float]]:
    """Yield points of a Sobol' sequence without end; `count` is how many are likely to be used.

    The direction numbers are those of Joe and Kuo 2008 as in `scipy.stats.qmc`; the scrambling is
    a random digital shift (exclusive-or of all coordinates of one dimension with one random
    number), which keeps the net properties and depends on no version of numpy.
    """
    from scipy.stats import qmc

    unit = 2**_UNIT_BITS
    shifts = [int(random.random() * unit) for _ in range(dimensions)]
    engine = qmc.Sobol(dimensions, scramble=False, bits=_SOBOL_BITS)
    block = max(count - 1, 1).bit_length()
    while True:
        for point in engine.random_base2(block).tolist():
            yield [(int(x * unit) ^ shift) / unit for x, shift in zip(point, shifts, strict=True)]
        block = (engine.num_generated - 1).bit_length()


def _latin_hypercube(space: Space, count: int) -> tuple[list[DrawnKey], list[str]]:
    """Use each of `count` equally likely strata of every name once (McKay and others 1979).

    What is taken is drawn again within its strata; what stays taken is drawn at random, last.
    """
    unit = space.random.random
    columns = [sorted(range(count), key=lambda _: unit()) for _ in range(space.dimensions)]
    keys = []
    for strata in zip(*columns, strict=True):
        points = ([(one + unit()) / count for one in strata] for _ in range(_TRIES))
        keys.append(space.take(map(space.at, points)))
    strays = keys.count(None)
    note = f"{strays} of {count} mutants lie outside their strata, where all are taken"
    return [key or space.draw() for key in keys], [note] * bool(strays)


def _factorial(
    parameters: Sequence[Hyperparameter], count: int | None, gone: Collection[MutantKey]
) -> list[DrawnKey]:
    if missing := [parameter.name for parameter in parameters if not parameter.levels]:
        text = f"the factorial design needs levels of {', '.join(missing)}"
        raise ConfigurationError([f'{text}; give them as "levels": {{name: [values]}}'])
    every = list(itertools.product(*(parameter.levels or () for parameter in parameters)))
    left = [key for key in every if key not in gone]
    if left and count in (None, len(left)):
        return left
    names = ", ".join(parameter.name for parameter in parameters)
    less = len(every) - len(left)
    detail = f" ({len(every)} in all, of which {less} taken by earlier experiments)" if less else ""
    text = f"has {len(left)} combinations{detail}, {count or 0} were asked for"
    remedy = f"; set runs_per_config to {len(left)}" if left else ""
    raise ConfigurationError([f"the factorial design of {names} {text}{remedy}"])


def _one_at_a_time(
    parameters: Sequence[Hyperparameter],
    count: int | None,
    seed: int,
    taken: Collection[MutantKey],
    past: Past,
) -> list[Mutant]:
    """Draw one name after the other, each from a stream of its own; exhausted ones sit out."""
    defaults = mutant_key({}, parameters)
    spaces = {}
    for index, one in enumerate(parameters):
        rest = defaults[:index] + defaults[index + 1 :]
        alone = {(key[index],) for key in taken if key[:index] + key[index + 1 :] == rest}
        random = Random(derive_seed(seed, one.name))
        spaces[one.name] = Space([one], {*alone, *past((one.name,))}, random)
    available = {name: space.available() for name, space in spaces.items()}
    most = sum(available.values())
    if count is None:
        count = int(most) if all(one.levels for one in parameters) else 1
    if count > most:
        each = ", ".join(f"{number} of {name}" for name, number in available.items())
        text = f"only {most} distinct mutants exist one at a time, {count} were asked for"
        raise ConfigurationError([f"{text} ({each})"])
    turns = itertools.product(range(count), spaces)
    drawn = ({name: spaces[name].draw()[0]} for turn, name in turns if turn < available[name])
    return list(itertools.islice(drawn, count))
