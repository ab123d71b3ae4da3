"""Draws mutants: distinct, reproducible from a seed, and exact about how many there are.

Everything here is a pure function of its arguments. What one entry draws depends on no other
entry, on no global random state and on no version of Python, numpy or the C library: values come
from `random.Random.random` with an integer seed, whose sequence Python documents as stable.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from wattest.config.design import RANDOM, Design, parameter_faults, with_levels
from wattest.config.program import Hyperparameter, Value
from wattest.errors import ConfigurationError
from wattest.plan.points import latin_hypercube, point_within, sobol
from wattest.plan.space import MutantKey, Space, SpaceExhausted

__all__ = ["Drawing", "SpaceExhausted", "derive_seed", "draw", "draw_mutants", "mutant_key"]

Mutant = dict[str, Value]
Taken = Collection[tuple[Value | None, ...]]
History = Callable[[tuple[str, ...]], Collection[MutantKey]]

_TRIES = 200


@dataclass(frozen=True)
class Drawing:
    """The mutants of one entry in the order in which they were drawn, and what to know of them.

    `notes` say in words where the design could not be kept in full.
    """

    mutants: tuple[Mutant, ...]
    notes: tuple[str, ...] = ()


def derive_seed(root_seed: int, *parts: str) -> int:
    """Return the seed of the part of a plan that `parts` name: 64 bits of a SHA-256 digest.

    Different parts get independent seeds, so that none of them depends on what the others draw.
    """
    digest = hashlib.sha256()
    for part in (str(root_seed), *parts):
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return int.from_bytes(digest.digest()[:8], "big")


def draw_mutants(
    parameters: Sequence[Hyperparameter],
    count: int | None,
    *,
    seed: str | int,
    design: Design = RANDOM,
    taken: Taken = (),
    history: History | None = None,
) -> tuple[Mutant, ...]:
    """Return the mutants of `draw` without its notes."""
    return draw(parameters, count, seed=seed, design=design, taken=taken, history=history).mutants


def draw(
    parameters: Sequence[Hyperparameter],
    count: int | None,
    *,
    seed: str | int,
    design: Design = RANDOM,
    taken: Taken = (),
    history: History | None = None,
) -> Drawing:
    """Return `count` distinct mutants of `parameters` by `design`.

    No mutant equals the defaults as a whole (a null default equals nothing), or stands in `taken`
    or `history`. Only the combinations of a factorial design may hold the defaults: its levels
    are written out, and without one of its corners it would not be factorial.

    Args:
        parameters: what to mutate; their order gives the order of the names in each mutant.
        count: how many; None leaves it to a design that knows (`factorial`, and `one_at_a_time`
            if all names have levels).
        seed: of this entry alone; see `derive_seed`.
        design: how the mutants are spread.
        taken: mutants as `mutant_key` gives them, which are not drawn again.
        history: gives those taken for a tuple of names; `one_at_a_time` asks for each name alone.

    Raises:
        SpaceExhausted: fewer distinct mutants are left; it says how many.
        ConfigurationError: faulty parameters, or a count or levels that the design cannot take.
    """
    faults = [
        f"{parameter.name}: {fault}"
        for parameter in parameters
        for fault in parameter_faults(parameter)
    ]
    if faults:
        raise ConfigurationError(faults)
    names = tuple(parameter.name for parameter in parameters)
    if len(set(names)) < len(names):
        raise ConfigurationError([f"names to mutate stand twice in {', '.join(names)}"])
    parameters = with_levels(parameters, design)
    if design.name == "one_at_a_time":
        return _one_at_a_time(parameters, count, seed, taken, history)
    past = frozenset(history(names)) if history else frozenset()
    if design.name == "factorial":
        return _factorial(parameters, count, {*taken, *past})
    if count is None:
        raise ConfigurationError([f"the design {design.name} needs runs_per_config; add it"])
    space = Space(parameters, taken, past)
    space.require(count)
    random = Random(_number(seed))
    if design.name == "latin_hypercube":
        return _latin_hypercube(space, count, random)
    if design.name == "sobol":
        return _sobol(space, count, random)
    if design.name != "random":
        raise ConfigurationError([f"{design.name!r} is not a design"])
    return Drawing(_mutants(space.names, [space.draw(random) for _ in range(count)]))


def mutant_key(
    mutant: dict[str, Value], parameters: Sequence[Hyperparameter]
) -> tuple[Value | None, ...]:
    """Return the values of `mutant` in the order of `parameters`, the default where it has none."""
    return tuple(mutant.get(parameter.name, parameter.default) for parameter in parameters)


def _number(seed: str | int) -> int:
    """Return a seed for `Random`, which would take -1 and 1 for the same."""
    return derive_seed(seed) if isinstance(seed, int) else derive_seed(0, "text", seed)


def _mutants(names: Sequence[str], keys: Iterable[MutantKey]) -> tuple[Mutant, ...]:
    return tuple(dict(zip(names, key, strict=True)) for key in keys)


def _sobol(space: Space, count: int, random: Random) -> Drawing:
    """Follow the sequence; where too many of its points in a row are taken, draw at random."""
    if count == 0:
        return Drawing(())
    points = sobol(len(space.names), count, random)
    keys: list[MutantKey] = []
    strays = 0
    for _ in range(count):
        found = (space.take(point) for point in itertools.islice(points, _TRIES))
        key = next((mutant for mutant in found if mutant is not None), None)
        strays += key is None
        keys.append(space.draw(random) if key is None else key)
    note = f"{strays} of {count} mutants lie off the Sobol' sequence: all its points are taken"
    return Drawing(_mutants(space.names, keys), (note,) * bool(strays))


def _latin_hypercube(space: Space, count: int, random: Random) -> Drawing:
    """Draw again within its strata what is taken; what stays taken is drawn at random, last."""
    keys: dict[int, MutantKey] = {}
    for row, (strata, point) in enumerate(latin_hypercube(len(space.names), count, random)):
        key = space.take(point)
        for _ in range(_TRIES):
            if key is not None:
                break
            key = space.take(point_within(strata, count, random))
        if key is not None:
            keys[row] = key
    strays = [row for row in range(count) if row not in keys]
    keys.update((row, space.draw(random)) for row in strays)
    note = f"{len(strays)} of {count} mutants lie outside their strata, where all are taken"
    ordered = [keys[row] for row in range(count)]
    return Drawing(_mutants(space.names, ordered), (note,) * bool(strays))


def _factorial(parameters: Sequence[Hyperparameter], count: int | None, taken: Taken) -> Drawing:
    missing = [parameter.name for parameter in parameters if parameter.levels is None]
    if missing or not parameters:
        text = f"the factorial design needs levels of {', '.join(missing) or 'at least one name'}"
        raise ConfigurationError([f'{text}; give them as "levels": {{name: [values]}}'])
    names = tuple(parameter.name for parameter in parameters)
    levels = [[each.coerce(level) for level in each.levels or ()] for each in parameters]
    combinations = list(itertools.product(*levels))
    earlier = set(taken)
    left = [key for key in combinations if key not in earlier]
    asked = len(left) if count is None else count
    if asked == len(left) and left:
        return Drawing(_mutants(names, left))
    size, gone = len(combinations), len(combinations) - len(left)
    detail = f" ({size} in all, of which {gone} taken by earlier experiments)" if gone else ""
    text = f"has {len(left)} combinations{detail}, {asked} were asked for"
    text = f"the factorial design of {', '.join(names)} {text}"
    if asked > len(left) or not left:
        raise SpaceExhausted(text, asked=asked, available=len(left))
    raise ConfigurationError([f"{text}; set runs_per_config to {len(left)}"])


def _one_at_a_time(
    parameters: Sequence[Hyperparameter],
    count: int | None,
    seed: str | int,
    taken: Taken,
    history: History | None,
) -> Drawing:
    """Draw one name after the other, each from a stream of its own; exhausted ones sit out."""
    root = _number(seed)
    turns = []
    for index, parameter in enumerate(parameters):
        others = [(at, each.default) for at, each in enumerate(parameters) if at != index]
        alone: list[tuple[Value | None, ...]] = [
            (key[index],) for key in taken if all(key[at] == default for at, default in others)
        ]
        alone += history((parameter.name,)) if history else ()
        turns.append((Space([parameter], alone), Random(derive_seed(root, parameter.name))))
    available = sum(space.available for space, _ in turns)
    if count is None:
        if any(parameter.levels is None for parameter in parameters):
            text = "the design one_at_a_time needs runs_per_config, or levels of all names"
            raise ConfigurationError([text])
        count = available
    if count > available:
        each = ", ".join(f"{space.available} of {space.names[0]}" for space, _ in turns)
        text = f"only {available} distinct mutants exist one at a time, {count} were asked for"
        raise SpaceExhausted(f"{text} ({each})", asked=count, available=available)
    mutants: list[Mutant] = []
    while len(mutants) < count:
        for space, random in turns:
            if space.available and len(mutants) < count:
                mutants += _mutants(space.names, [space.draw(random)])
    return Drawing(tuple(mutants))
