"""One training as a settings file asks for it, checked against the registry."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wattest.config.jsonfile import Keys
from wattest.config.program import Hyperparameter, Program, Value
from wattest.config.registry import Registry
from wattest.config.suggest import did_you_mean, near_miss
from wattest.names import same_name
from wattest.patterns import compile_pattern

Report = Callable[[Keys, str], None]


@dataclass(frozen=True)
class TrainingRequest:
    """One training as it was asked for: what is fixed, and what is to be drawn."""

    program: Program
    model: str
    fixed: Mapping[str, Value]
    ignored: Mapping[str, Value]
    mutate: tuple[str, ...] = ()
    ready_pattern: re.Pattern[str] | None = None

    @property
    def values(self) -> dict[str, Value]:
        """What the training gets where nothing is mutated: fixed values over defaults."""
        return {**self.program.defaults(), **self.fixed}

    @property
    def mutated_parameters(self) -> list[Hyperparameter]:
        """The hyper-parameters that are to be drawn, in the registry's order."""
        return [self.program.hyperparameters[name] for name in self.mutate]


class RequestReader:
    """Reads trainings; tells `fault` what is wrong and `warn` what is odd, each with its place."""

    def __init__(self, registry: Registry, fault: Report, warn: Report) -> None:
        self._registry = registry
        self._fault = fault
        self._warn = warn

    def read(
        self, keys: Keys, training: Mapping[str, Any], *, is_load: bool
    ) -> TrainingRequest | None:
        """Return what is asked for at `keys`; None where the program or its model is unknown.

        Only a load has a pattern that shows it ready, and only what is no load is mutated.
        """
        programs, repo = self._registry.programs, training["repo"]
        program = programs.get(same_name(repo, programs) or repo)
        if program is None:
            text = f"{repo!r} is not in {self._registry.file}; {did_you_mean(repo, list(programs))}"
            self._fault((*keys, "repo"), text)
            return None
        model = same_name(training["model"], program.models)
        if model is None:
            hint = did_you_mean(training["model"], program.models)
            text = f"{training['model']!r} is not a model of {repo}; {hint}"
            self._fault((*keys, "model"), text)
        fixed, ignored = self._values(keys, training.get("hyperparameters", {}), program)
        names = [] if is_load else training.get("mutate", [])
        mutate = self._mutated(keys, names, program, fixed)
        ready = self._ready_pattern(keys, training.get("ready_pattern") if is_load else None)
        if model is None:
            return None
        return TrainingRequest(program, model, fixed, ignored, mutate, ready)

    def _ready_pattern(self, keys: Keys, text: str | None) -> re.Pattern[str] | None:
        try:
            return None if text is None else compile_pattern(text)
        except ValueError as error:
            self._fault((*keys, "ready_pattern"), str(error))
            return None

    def _values(
        self, keys: Keys, values: Mapping[str, Value], program: Program
    ) -> tuple[dict[str, Value], dict[str, Value]]:
        """Return the values that are passed, and those that are ignored."""
        known = program.hyperparameters
        fixed: dict[str, Value] = {}
        ignored: dict[str, Value] = {}
        for written, value in values.items():
            place, name = (*keys, "hyperparameters", written), same_name(written, known)
            if name is None:
                meant = near_miss(written, list(known))
                is_slip = meant is not None and meant not in values
                text = f"the registry knows no such hyper-parameter of {program.name}"
                text = f"is not passed: {text}; {did_you_mean(written, list(known))}"
                (self._fault if is_slip else self._warn)(place, text)
                ignored[written] = value
                continue
            if name in fixed:
                self._fault(place, "is given twice, in two encodings of one name; keep one of them")
            try:
                fixed[name] = known[name].coerce(value)
            except ValueError:
                self._fault(place, f"must be an int (as in the registry), is {value!r}")
        return fixed, ignored

    def _mutated(
        self, keys: Keys, names: Sequence[str], program: Program, fixed: Mapping[str, Value]
    ) -> tuple[str, ...]:
        known = list(program.hyperparameters)
        names = [same_name(name, known) or name for name in names]
        if list(names) == ["all"]:
            names = [name for name in known if name not in fixed]
            if not names:
                self._fault((*keys, "mutate"), f"{program.name} has nothing left to mutate")
        for index, name in enumerate(names):
            place = (*keys, "mutate", index)
            if name == "all":
                self._fault(place, '"all" stands alone; remove the other names')
            elif name not in known:
                hint = did_you_mean(name, known)
                self._fault(place, f"{name!r} is not a hyper-parameter of {program.name}; {hint}")
            elif name in fixed:
                self._fault(
                    place, f"{name!r} is also fixed in hyperparameters; keep one of the two"
                )
        return tuple(name for name in known if name in names)
