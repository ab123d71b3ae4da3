"""The registry: which programs can be trained, and how (`config/models_config.json`)."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from wattest.config.design import parameter_faults
from wattest.config.jsonfile import Keys, drop_remarks, read_json
from wattest.config.program import Hyperparameter, Program
from wattest.config.schema import load_schema, schema_faults, unknown_keys
from wattest.errors import ConfigurationError, Fault, json_path


@dataclass(frozen=True)
class Registry:
    """All programs by name, with what was ignored in the file."""

    file: str
    programs: Mapping[str, Program]
    warnings: tuple[str, ...] = ()


def load_registry(path: Path, root: Path, shown: str | None = None) -> Registry:
    """Read the registry at `path`; relative program paths resolve against `root`.

    Where a relative path does not exist below `root` but does below the registry's own folder,
    that one is taken.

    Raises:
        ConfigurationError: one line for every fault in the file.
    """
    shown = shown or str(path)
    data = read_json(path, shown)
    drop_remarks(data)
    faults, warnings = _unknown_keys(data, shown)
    faults += schema_faults(data, "models_config", shown)
    if faults:
        raise ConfigurationError(faults)
    programs = {}
    for name, definition in data["models"].items():
        entry = _Entry(name, definition, shown)
        programs[name] = entry.read([root, path.resolve().parent])
        faults += entry.faults
    if faults:
        raise ConfigurationError(faults)
    return Registry(shown, programs, tuple(map(str, warnings)))


@dataclass
class _Entry:
    """One program's entry of the file while it is read, with the faults found in it."""

    name: str
    data: Mapping[str, Any]
    shown: str
    faults: list[Fault] = field(default_factory=list)

    def read(self, roots: Sequence[Path]) -> Program:
        """Return the program, which is only good if there are no faults."""
        self._check_places()
        metrics = self.data["performance_metrics"]["log_patterns"]
        place = ("performance_metrics", "log_patterns")
        patterns = {
            metric: self._compile(text, (1,), *place, metric) for metric, text in metrics.items()
        }
        progress = self.data.get("progress")
        return Program(
            name=self.name,
            folder=_folder(self.data["path"], roots),
            script=_script(self.data["train_script"]),
            models=tuple(self.data["models"]),
            model_flag=self.data.get("model_flag"),
            required_arguments=self._required_arguments(),
            hyperparameters=self._hyperparameters(),
            log_patterns=patterns,
            environment=dict(self.data.get("environment", {})),
            interpreter=self.data.get("interpreter"),
            progress=None if progress is None else self._compile(progress, (1, 2), "progress"),
            gpu_memory_mb=self.data.get("gpu_memory_mb"),
            definition=self.data,
        )

    def _blame(self, text: str, *keys: str | int) -> None:
        self.faults.append(Fault(self.shown, json_path(("models", self.name, *keys)), text))

    def _check_places(self) -> None:
        if not self.data.get("outside_project", False):
            for key in ("path", "train_script"):
                if _leaves(self.data[key]):
                    self._blame(_LEAVES.format(self.data[key]), key)

    def _compile(self, text: str, groups: tuple[int, ...], *keys: str) -> re.Pattern[str]:
        try:
            pattern = re.compile(text, re.MULTILINE)
        except (re.error, OverflowError, RecursionError) as error:
            self._blame(f"is not a regular expression: {error}", *keys)
            return _NEVER
        if pattern.groups not in groups:
            wanted = " or ".join(map(str, groups))
            remedy = "put ( ) around the number, and (?: ) around anything else"
            has = f"needs {wanted} capturing group, has {pattern.groups}"
            self._blame(f"{has}; {remedy}", *keys)
        return pattern

    def _required_arguments(self) -> tuple[str, ...]:
        arguments: list[str] = []
        for key, text in self.data.get("required_args", {}).items():
            try:
                arguments += shlex.split(text)
            except ValueError as error:
                self._blame(f"cannot be split into words: {error}", "required_args", key)
        return tuple(arguments)

    def _hyperparameters(self) -> dict[str, Hyperparameter]:
        place = "supported_hyperparams"
        found = {}
        for name, definition in self.data.get(place, {}).items():
            problems = _hyperparameter_faults(definition)
            for key, text in problems:
                self._blame(text, place, name, key)
            if problems:
                continue
            found[name] = parameter = _hyperparameter(name, definition)
            for fault in parameter_faults(parameter):
                key, _, text = fault.partition(": ")
                self._blame(text, place, name, key)
        for one, two, flag in _shared_flags(found):
            self._blame(f"has the flag of {one!r}, {flag!r}", place, two)
        for name, parameter in found.items():
            if parameter.flag == self.data.get("model_flag"):
                self._blame(f"is the model_flag, {parameter.flag!r}", place, name, "flag")
        return found


_NEVER = re.compile(r"(?!)")
_LEAVES = (
    "{!r} leads outside the project; write an absolute path,"
    ' or add "outside_project": true to this repository'
)


def _shared_flags(
    hyperparameters: Mapping[str, Hyperparameter],
) -> list[tuple[str, str, str]]:
    """Return (first, second, flag) wherever two hyper-parameters would be passed by one flag."""
    owners: dict[str, str] = {}
    found = []
    for name, parameter in hyperparameters.items():
        owner = owners.setdefault(parameter.flag, name)
        if owner != name:
            found.append((owner, name, parameter.flag))
    return found


def _leaves(text: str) -> bool:
    """Tell whether a relative path climbs above where it starts (absolute ones say so openly)."""
    depth = 0
    for part in PurePosixPath(text).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False


def _folder(text: str, roots: Sequence[Path]) -> Path:
    candidates = [root / text for root in roots]
    # Not Path.is_dir: it raises for a folder that may not be entered.
    found = next((one for one in candidates if os.path.isdir(one)), candidates[0])  # noqa: PTH112
    return Path(os.path.abspath(found))  # noqa: PTH100 - a symlink to one's own clone stays one


def _script(text: str) -> str:
    return text if "/" in text else f"./{text}"


def _hyperparameter(name: str, data: Mapping[str, Any]) -> Hyperparameter:
    low, high = data["range"]
    number = int if data["type"] == "int" else float
    default = data.get("default")
    levels = data.get("levels")
    return Hyperparameter(
        name=name,
        flag=data["flag"],
        kind=data["type"],
        default=None if default is None else number(default),
        minimum=number(low),
        maximum=number(high),
        distribution=data.get("distribution", "uniform"),
        zero_probability=float(data.get("zero_probability", 0)),
        levels=None if levels is None else tuple(number(level) for level in levels),
    )


def _hyperparameter_faults(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (key, what to mend) for every contradiction in a hyper-parameter's definition."""
    low, high = data["range"]
    found = []
    if low > high:
        found.append(("range", f"[{low}, {high}] is upside down; write [{high}, {low}]"))
    elif data.get("distribution") == "log_uniform" and low <= 0:
        remedy = "use zero_probability for exact zeros, or the uniform distribution"
        found.append(("range", f"a log_uniform range must be above 0, starts at {low}; {remedy}"))
    if data["type"] == "int":
        values = [("range", low), ("range", high), ("default", data.get("default"))]
        values += [("levels", level) for level in data.get("levels") or ()]
        found += [
            (key, f"{value} is not an int, as the parameter's type asks")
            for key, value in values
            if value is not None and (not math.isfinite(value) or value != int(value))
        ]
    return found


def _unknown_keys(data: Mapping[str, Any], shown: str) -> tuple[list[Fault], list[Fault]]:
    """Return (errors, warnings) for keys that the schema does not know.

    It comes before the schema's own answer: a wrong name explains what is lacking.
    """
    schema = load_schema("models_config")
    program_keys = schema["$defs"]["program"]["properties"]
    hyperparameter_keys = schema["$defs"]["hyperparameter"]["properties"]
    places: list[tuple[Keys, object, Mapping[str, Any]]] = [((), data, schema["properties"])]
    for name, program in _items(data.get("models")):
        keys: Keys = ("models", name)
        places.append((keys, program, program_keys))
        for key, inner in _items(program):
            if key == "performance_metrics":
                places.append(((*keys, key), inner, program_keys[key]["properties"]))
            if key == "supported_hyperparams":
                places += [
                    ((*keys, key, parameter), definition, hyperparameter_keys)
                    for parameter, definition in _items(inner)
                ]
    errors: list[Fault] = []
    warnings: list[Fault] = []
    for place, mapping, known in places:
        if isinstance(mapping, dict):
            found = unknown_keys(mapping, list(known), place, shown)
            errors += found[0]
            warnings += found[1]
    return errors, warnings


def _items(value: object) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []
