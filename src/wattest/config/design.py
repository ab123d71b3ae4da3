"""Designs: by which plan the mutants of one entry are spread over their space.

==================  ===========================================================  ============
design              mutants                                                      extendable
==================  ===========================================================  ============
`random`            independent draws (the default)                              yes
`latin_hypercube`   one draw in each of n equally likely strata of every name    no
`sobol`             a low-discrepancy sequence with a random digital shift       yes
`factorial`         every combination of the given levels                        no
`one_at_a_time`     one name drawn, the others left as without mutation; in turn yes
==================  ===========================================================  ============

Extendable: with the same seed, a larger number of mutants begins with those of a smaller one.
The first three give points of the unit cube, which each parameter's own quantile function turns
into values: the share of exact zeros, integers and levels are spread as evenly as all else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from wattest.config.jsonfile import Keys, type_name
from wattest.config.program import Hyperparameter, Value
from wattest.config.suggest import did_you_mean, near_miss
from wattest.errors import ConfigurationError, Fault, json_path

DESIGNS = ("random", "latin_hypercube", "sobol", "factorial", "one_at_a_time")

_KEYS = ("name", "levels")


@dataclass(frozen=True)
class Design:
    """A design by its name, with the levels that replace a parameter's own distribution.

    Where a name has `levels`, these are the only values drawn for it, each equally likely; the
    registry's levels and zero probability do not apply then.
    """

    name: str = "random"
    levels: Mapping[str, tuple[Value, ...]] = field(default_factory=dict, hash=False)


RANDOM = Design()


def parse_design(value: object, keys: Keys, shown: str) -> Design | list[Fault]:
    """Return the design that settings ask for, or every fault in it.

    `value` is a name, or an object with `name` and, optionally, `levels` (name → list of numbers).
    `keys` lead to it in the settings file, which faults call `shown`.
    """
    written = {"name": value} if isinstance(value, str) else value
    if not isinstance(written, dict):
        text = f"must be the name of a design or an object with one, is {type_name(value)}"
        return [Fault(shown, json_path(keys), text)]
    faults = [
        Fault(shown, json_path(keys if written is not value else (*keys, *place)), text)
        for place, text in _design_faults(written)
    ]
    levels = (
        {name: tuple(one) for name, one in written.get("levels", {}).items()} if not faults else {}
    )
    return faults or Design(written["name"], levels)


def with_levels(parameters: Sequence[Hyperparameter], design: Design) -> tuple[Hyperparameter, ...]:
    """Return `parameters` with the levels of `design` in place of their own distribution.

    Raises:
        ConfigurationError: levels of a name that is not mutated, or levels that the parameter
            cannot take: outside its range and not its default, or of another type.
    """
    names = [parameter.name for parameter in parameters]
    faults = [
        f"the design has levels of {name!r}, which is not mutated; {did_you_mean(name, names)}"
        for name in design.levels
        if name not in names
    ]
    faults += [
        f"the design's levels of {parameter.name}: {text}"
        for parameter in parameters
        for text in parameter.level_faults(design.levels.get(parameter.name, ()))
    ]
    if faults:
        raise ConfigurationError(faults)
    return tuple(
        replace(one, levels=tuple(map(one.coerce, design.levels[one.name])), zero_probability=0.0)
        if one.name in design.levels
        else one
        for one in parameters
    )


def _design_faults(written: Mapping[str, object]) -> Iterator[tuple[Keys, str]]:
    """Yield (place in the design, what to mend)."""
    for key in written:
        if key not in _KEYS:
            meant = near_miss(key, _KEYS)
            hint = f"did you mean {meant!r}?" if meant else f"known: {', '.join(_KEYS)}"
            yield (key,), f"is not a key of a design; {hint}"
    name, levels = written.get("name"), written.get("levels", {})
    if not isinstance(name, str):
        yield (), "lacks the name of the design; add it"
    elif name not in DESIGNS:
        yield ("name",), f"{name!r} is not a design; {did_you_mean(name, DESIGNS)}"
    if not isinstance(levels, dict):
        text = f"must be an object of names and lists of values, is {type_name(levels)}"
        yield ("levels",), text
        return
    for key, values in levels.items():
        if fault := _levels_fault(values):
            yield ("levels", key), fault


def _levels_fault(values: object) -> str | None:
    if not isinstance(values, list) or not values:
        return "must be a list of at least one number"
    odd = [value for value in values if type(value) not in (int, float)]
    if odd:
        return f"holds {odd[0]!r}, which is not a number"
    return f"names a level twice: {values}" if len(set(values)) < len(values) else None
