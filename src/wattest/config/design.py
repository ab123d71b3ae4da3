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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wattest.config.program import Hyperparameter, Value
from wattest.config.suggest import did_you_mean
from wattest.errors import ConfigurationError
from wattest.names import same_name


@dataclass(frozen=True)
class Design:
    """A design by its name, with the levels that replace a parameter's own distribution.

    Where a name has `levels`, these are the only values drawn for it, each equally likely; the
    registry's levels and zero probability do not apply then.
    """

    name: str = "random"
    levels: Mapping[str, tuple[Value, ...]] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, written: str | Mapping[str, Any], names: Iterable[str] = ()) -> Design:
        """Return what sound settings ask for: a name, or an object with it and with levels.

        Levels of a name among `names` are its own, however its accents are encoded.
        """
        if isinstance(written, str):
            return cls(written)
        levels = written.get("levels", {})
        known = {name: same_name(name, names) or name for name in levels}
        return cls(written["name"], {known[name]: tuple(levels[name]) for name in levels})

    def written(self) -> str | dict[str, Any]:
        """Return it as settings say it, as JSON."""
        levels = {name: list(values) for name, values in self.levels.items()}
        return {"name": self.name, "levels": levels} if levels else self.name


RANDOM = Design()


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
