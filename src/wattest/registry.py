"""The registry: which programs can be trained, and how (`config/models_config.json`)."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from wattest.errors import ConfigurationError
from wattest.faults import Fault, json_path
from wattest.jsonfile import Keys, load_schema, read_json, schema_faults, unknown_keys

Value = int | float


@dataclass(frozen=True)
class Hyperparameter:
    """One hyper-parameter of a program: how it is passed, and from where it is drawn.

    `minimum` and `maximum` are inclusive. `levels`, where given, are the only values drawn.
    """

    name: str
    flag: str
    kind: Literal["int", "float"]
    default: Value | None
    minimum: Value
    maximum: Value
    distribution: Literal["uniform", "log_uniform"]
    zero_probability: float = 0.0
    levels: tuple[Value, ...] | None = None

    def coerce(self, value: Value) -> Value:
        """Return `value` in this parameter's own type.

        Raises:
            ValueError: an int parameter was given a fraction.
        """
        if self.kind == "float":
            return float(value)
        if value != int(value):
            raise ValueError(f"{self.name} is an int, {value!r} is not")
        return int(value)


@dataclass(frozen=True)
class Program:
    """One repository of the registry.

    `folder` is absolute; `script` is written as it stands in the command, relative to `folder`.
    """

    name: str
    folder: Path
    script: str
    models: tuple[str, ...]
    model_flag: str | None
    required_arguments: tuple[str, ...]
    hyperparameters: Mapping[str, Hyperparameter]
    log_patterns: Mapping[str, re.Pattern[str]]
    environment: Mapping[str, str]
    interpreter: str | None
    progress: re.Pattern[str] | None
    gpu_memory_mb: int | None
    definition: Mapping[str, Any]

    @property
    def script_path(self) -> Path:
        """Absolute path of the training script."""
        return self.folder / self.script

    def defaults(self) -> dict[str, Value]:
        """Return the default of every hyper-parameter that has one."""
        return {
            name: parameter.default
            for name, parameter in self.hyperparameters.items()
            if parameter.default is not None
        }


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
    faults, warnings = _unknown_keys(data, shown)
    faults += schema_faults(data, "models_config", shown)
    if faults:
        raise ConfigurationError(faults)
    programs = {}
    for name, definition in data["models"].items():
        program, own_faults = _program(name, definition, [root, path.resolve().parent], shown)
        programs[name] = program
        faults += own_faults
    if faults:
        raise ConfigurationError(faults)
    return Registry(shown, programs, tuple(map(str, warnings)))


def _program(
    name: str, data: Mapping[str, Any], roots: Sequence[Path], shown: str
) -> tuple[Program, list[Fault]]:
    keys: tuple[str | int, ...] = ("models", name)
    faults: list[Fault] = []
    outside = data.get("outside_project", False)
    for key in ("path", "train_script"):
        if not outside and _leaves(data[key]):
            faults.append(_fault(shown, (*keys, key), _LEAVES.format(data[key])))
    patterns: dict[str, re.Pattern[str]] = {}
    for metric, text in data["performance_metrics"]["log_patterns"].items():
        place = (*keys, "performance_metrics", "log_patterns", metric)
        _compile(text, patterns, metric, (1,), place, shown, faults)
    progress: dict[str, re.Pattern[str]] = {}
    if "progress" in data:
        place = (*keys, "progress")
        _compile(data["progress"], progress, "progress", (1, 2), place, shown, faults)
    arguments: list[str] = []
    for key, text in data.get("required_args", {}).items():
        try:
            arguments += shlex.split(text)
        except ValueError as error:
            place = (*keys, "required_args", key)
            faults.append(_fault(shown, place, f"cannot be split into words: {error}"))
    hyperparameters = {}
    for parameter, definition in data.get("supported_hyperparams", {}).items():
        place = (*keys, "supported_hyperparams", parameter)
        problems = _hyperparameter_faults(definition)
        faults += [_fault(shown, (*place, key), text) for key, text in problems]
        if not problems:
            hyperparameters[parameter] = _hyperparameter(parameter, definition)
    faults += [
        _fault(shown, (*keys, "supported_hyperparams", two), f"has the flag of {one!r}, {flag!r}")
        for one, two, flag in _shared_flags(hyperparameters)
    ]
    program = Program(
        name=name,
        folder=_folder(data["path"], roots),
        script=_script(data["train_script"]),
        models=tuple(data["models"]),
        model_flag=data.get("model_flag"),
        required_arguments=tuple(arguments),
        hyperparameters=hyperparameters,
        log_patterns=patterns,
        environment=dict(data.get("environment", {})),
        interpreter=data.get("interpreter"),
        progress=progress.get("progress"),
        gpu_memory_mb=data.get("gpu_memory_mb"),
        definition=data,
    )
    return program, faults


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


def _compile(
    text: str,
    into: dict[str, re.Pattern[str]],
    name: str,
    groups: tuple[int, ...],
    place: tuple[str | int, ...],
    shown: str,
    faults: list[Fault],
) -> None:
    try:
        pattern = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        faults.append(_fault(shown, place, f"is not a regular expression: {error}"))
        return
    if pattern.groups not in groups:
        wanted = " or ".join(map(str, groups))
        remedy = "put ( ) around the number, and (?: ) around anything else"
        text = f"needs {wanted} capturing group, has {pattern.groups}; {remedy}"
        faults.append(_fault(shown, place, text))
        return
    into[name] = pattern


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


def _fault(shown: str, keys: tuple[str | int, ...], text: str) -> Fault:
    return Fault(shown, json_path(keys), text)
