"""One training as a settings file asks for it, checked against the registry."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wattest.config.jsonfile import Keys
from wattest.config.program import Hyperparameter, Program, Value
from wattest.config.registry import Registry
from wattest.config.suggest import did_you_mean
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

    def read(self, keys: Keys, training: Mapping[str, Any]) -> TrainingRequest | None:
        """Return what is asked for at `keys`; None where the program or its model is unknown."""
        programs, repo, model = self._registry.programs, training["repo"], training["model"]
        if repo not in programs:
            text = f"{repo!r} is not in {self._registry.file}; {did_you_mean(repo, list(programs))}"
            self._fault((*keys, "repo"), text)
            return None
        program = programs[repo]
        if model not in program.models:
            hint = did_you_mean(model, program.models)
            self._fault((*keys, "model"), f"{model!r} is not a model of {repo}; {hint}")
            return None
        fixed, ignored = self._values(keys, training.get("hyperparameters", {}), program)
        mutate = self._mutated(keys, training.get("mutate", []), program, fixed)
        ready = self._ready_pattern(keys, training.get("ready_pattern"))
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
        for name, value in values.items():
            place = (*keys, "hyperparameters", name)
            if name not in known:
                text = f"the registry knows no such hyper-parameter of {program.name}"
                hint = did_you_mean(name, list(known))
                self._warn(place, f"is not passed: {text}; {hint}")
                continue
            try:
                fixed[name] = known[name].coerce(value)
            except ValueError:
                self._fault(place, f"must be an int (as in the registry), is {value!r}")
        return fixed, {name: value for name, value in values.items() if name not in known}

    def _mutated(
        self, keys: Keys, names: Sequence[str], program: Program, fixed: Mapping[str, Value]
    ) -> tuple[str, ...]:
        known = list(program.hyperparameters)
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
