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

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from wattest.config.jsonfile import Keys, is_annotation, type_name
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
    name_keys: Keys = (*keys, "name")
    if isinstance(value, str):
        value, name_keys = {"name": value}, keys
    if not isinstance(value, Mapping):
        text = f"must be the name of a design or an object with one, is {type_name(value)}"
        return [Fault(shown, json_path(keys), text)]
    faults = [
        Fault(shown, json_path((*keys, key)), _unknown_key(key))
        for key in value
        if key not in _KEYS and not is_annotation(key)
    ]
    name = value.get("name")
    if not isinstance(name, str):
        faults.append(Fault(shown, json_path(keys), "lacks the name of the design; add it"))
    elif name not in DESIGNS:
        text = f"{name!r} is not a design; {did_you_mean(name, DESIGNS)}"
        faults.append(Fault(shown, json_path(name_keys), text))
    levels, level_faults = _levels(value.get("levels", {}), (*keys, "levels"), shown)
    faults += level_faults
    return faults or Design(str(name), levels)


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
    chosen = []
    for parameter in parameters:
        if parameter.name in design.levels:
            levels = design.levels[parameter.name]
            found = _level_faults(parameter, levels)
            faults += [f"the design's levels of {parameter.name}: {fault}" for fault in found]
            parameter = replace(parameter, levels=levels, zero_probability=0.0)
        chosen.append(parameter)
    if faults:
        raise ConfigurationError(faults)
    return tuple(chosen)


def parameter_faults(parameter: Hyperparameter) -> list[str]:
    """Return what contradicts itself in a hyper-parameter, each fault headed by its JSON key."""
    low, high = parameter.minimum, parameter.maximum
    numbers = [("range", low), ("range", high), ("default", parameter.default)]
    numbers += [("levels", level) for level in parameter.levels or ()]
    given = [(key, value) for key, value in numbers if value is not None]
    faults = [f"{key}: {value} is not a number" for key, value in given if not _is_number(value)]
    if faults:
        return faults
    if parameter.kind == "int":
        own = [(key, value) for key, value in given if key != "levels"]
        faults += [f"{key}: {value} is not an int" for key, value in own if value != int(value)]
    if low > high:
        faults.append(f"range: [{low}, {high}] is upside down; write [{high}, {low}]")
    elif parameter.distribution == "log_uniform" and low <= 0:
        faults.append(f"range: log_uniform must begin above 0, begins at {low}")
    if not 0 <= parameter.zero_probability <= 1:
        faults.append(f"zero_probability: {parameter.zero_probability} is not in [0, 1]")
    if parameter.levels is not None:
        faults += [f"levels: {fault}" for fault in _level_faults(parameter, parameter.levels)]
    return faults


def _levels(
    value: object, keys: Keys, shown: str
) -> tuple[dict[str, tuple[Value, ...]], list[Fault]]:
    if not isinstance(value, Mapping):
        text = f"must be an object of names and lists of values, is {type_name(value)}"
        return {}, [Fault(shown, json_path(keys), text)]
    found = {}
    faults = []
    for name, levels in value.items():
        if is_annotation(name):
            continue
        place = json_path((*keys, name))
        if not isinstance(levels, list) or not levels:
            faults.append(Fault(shown, place, "must be a list of at least one number"))
        elif not all(_is_number(level) for level in levels):
            odd = next(level for level in levels if not _is_number(level))
            faults.append(Fault(shown, place, f"holds {odd!r}, which is not a number"))
        elif len(set(levels)) < len(levels):
            faults.append(Fault(shown, place, f"names a level twice: {levels}"))
        else:
            found[name] = tuple(levels)
    return found, faults


def _level_faults(parameter: Hyperparameter, levels: Sequence[Value]) -> list[str]:
    if not levels:
        return ["must not be empty"]
    faults = [f"name a value twice: {list(levels)}"] if len(set(levels)) < len(levels) else []
    for level in levels:
        within = parameter.minimum <= level <= parameter.maximum or level == parameter.default
        if parameter.kind == "int" and level != int(level):
            faults.append(f"{level} is not an int")
        elif not within and not (level == 0 and parameter.zero_probability > 0):
            span = f"[{parameter.minimum}, {parameter.maximum}]"
            faults.append(f"{level} is outside the range {span}; widen it, or leave the level out")
    return faults


def _unknown_key(key: str) -> str:
    meant = near_miss(key, _KEYS)
    known = ", ".join(_KEYS)
    return f"is not a key of a design; {f'did you mean {meant!r}?' if meant else f'known: {known}'}"


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)
