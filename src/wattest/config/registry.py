"""The registry: which programs can be trained, and how (`config/models_config.json`)."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.config.jsonfile import read_json
from wattest.config.program import Hyperparameter, Program, Value
from wattest.config.schema import defaults_of, written_faults
from wattest.config.suggest import did_you_mean
from wattest.errors import ConfigurationError, Fault, json_path
from wattest.names import digest_of
from wattest.patterns import compile_pattern

_NEVER = re.compile(r"(?!)")


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
    faults, warnings = written_faults(data, "models_config", shown)
    models = data.get("models")
    programs = {}
    for name, definition in models.items() if isinstance(models, dict) else ():
        place = json_path(["models", name])
        if any(f"{one.path}.".startswith((f"{place}.", f"{place}[")) for one in faults):
            continue
        reader = _ProgramReader(name, definition, shown)
        programs[name] = reader.read([root, path.resolve().parent])
        faults += reader.faults
    if faults:
        raise ConfigurationError(faults)
    return Registry(shown, programs, tuple(map(str, warnings)))


class _ProgramReader:
    """Collects the faults of one program's entry while it reads it."""

    def __init__(self, name: str, data: Mapping[str, Any], shown: str) -> None:
        self._name = name
        self._data = data
        self._shown = shown
        self.faults: list[Fault] = []

    def read(self, roots: Sequence[Path]) -> Program:
        """Return the program, which is only good if there are no faults."""
        data = self._data
        if not data.get("outside_project"):
            for key in ("path", "train_script"):
                if _leaves(data[key]):
                    self._blame(_LEAVES.format(data[key]), key)
        place = ("performance_metrics", "log_patterns")
        metrics = data["performance_metrics"]["log_patterns"]
        progress, script = data.get("progress"), data["train_script"]
        return Program(
            name=self._name,
            folder=_folder(data["path"], roots),
            script=script if "/" in script else f"./{script}",
            models=tuple(data["models"]),
            model_flag=data.get("model_flag"),
            required_arguments=self._required_arguments(),
            hyperparameters=self._hyperparameters(),
            log_patterns={key: self._compile(metrics[key], (1,), *place, key) for key in metrics},
            better=self._better(metrics),
            environment=data.get("environment", {}),
            interpreter=data.get("interpreter"),
            progress=None if progress is None else self._compile(progress, (1, 2), "progress"),
            gpu_memory_mb=data.get("gpu_memory_mb"),
            digest=digest_of(data),
        )

    def _blame(self, text: str, *keys: str) -> None:
        self.faults.append(Fault(self._shown, json_path(("models", self._name, *keys)), text))

    def _compile(self, text: str, groups: tuple[int, ...], *keys: str) -> re.Pattern[str]:
        try:
            pattern = compile_pattern(text)
        except ValueError as error:
            self._blame(str(error), *keys)
            return _NEVER
        if pattern.groups not in groups:
            wanted = " or ".join(map(str, groups))
            remedy = "put ( ) around the number, and (?: ) around anything else"
            has = f"needs {wanted} capturing group, has {pattern.groups}"
            self._blame(f"{has}; {remedy}", *keys)
        return pattern

    def _better(self, metrics: Mapping[str, str]) -> dict[str, str]:
        told: dict[str, str] = self._data["performance_metrics"].get("better", {})
        for name in sorted(told.keys() - metrics.keys()):
            text = f"no log pattern finds this metric; {did_you_mean(name, list(metrics))}"
            self._blame(text, "performance_metrics", "better", name)
        return told

    def _required_arguments(self) -> tuple[str, ...]:
        arguments: list[str] = []
        for key, text in self._data.get("required_args", {}).items():
            try:
                arguments += shlex.split(text)
            except ValueError as error:
                self._blame(f"cannot be split into words: {error}", "required_args", key)
        return tuple(arguments)

    def _hyperparameters(self) -> dict[str, Hyperparameter]:
        place = "supported_hyperparams"
        found = {}
        owners = {self._data.get("model_flag"): "the model (model_flag)"}
        for name, definition in self._data.get(place, {}).items():
            found[name] = parameter = _hyperparameter(name, definition)
            for key, text in parameter.faults():
                self._blame(text, place, name, key)
            owner = owners.setdefault(parameter.flag, name)
            if owner != name:
                text = f"{parameter.flag!r} is the flag of {owner}, too; give each its own"
                self._blame(text, place, name, "flag")
        return found


_LEAVES = (
    "{!r} leads outside the project; write an absolute path,"
    ' or add "outside_project": true to this repository'
)


def _leaves(text: str) -> bool:
    """Tell whether a relative path climbs above where it starts (absolute ones say so openly)."""
    return os.path.normpath(text).split("/")[0] == ".."


def _folder(text: str, roots: Sequence[Path]) -> Path:
    candidates = [root / text for root in roots]
    # Not Path.is_dir: it raises for a folder that may not be entered.
    found = next((one for one in candidates if os.path.isdir(one)), candidates[0])  # noqa: PTH112
    return Path(os.path.abspath(found))  # noqa: PTH100 - a symlink to one's own clone stays one


def _hyperparameter(name: str, data: Mapping[str, Any]) -> Hyperparameter:
    said = {**defaults_of("models_config", "hyperparameter"), **data}
    kind, levels = said["type"], said.get("levels")
    low, high = (_number(value, kind) for value in said["range"])
    return Hyperparameter(
        name=name,
        flag=said["flag"],
        kind=kind,
        default=None if said["default"] is None else _number(said["default"], kind),
        minimum=low,
        maximum=high,
        distribution=said["distribution"],
        zero_probability=float(said["zero_probability"]),
        levels=None if levels is None else tuple(_number(level, kind) for level in levels),
    )


def _number(value: Value, kind: str) -> Value:
    """Return a number of this kind; a fraction for an int stays one, to be told as a fault."""
    if kind == "float":
        return float(value)
    return int(value) if value == int(value) else value
