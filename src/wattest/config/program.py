"""What a registry describes: programs that can be trained, and their hyper-parameters."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wattest.errors import Fault, json_path

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


def interpreter_of(program: Program) -> Path:
    """Return the Python of a program: its own, relative to its folder, or the one that runs us."""
    return program.folder / (program.interpreter or sys.executable)


def program_faults(program: Program, registry_file: str, needed_by: str) -> list[Fault]:
    """Return what keeps a program from being started, before it is tried."""
    faults = []
    where = json_path(("models", program.name))
    needed = f"(needed by {needed_by})"
    # Not Path.is_dir: it raises for a path that may not be looked at.
    if not os.path.isdir(program.folder):  # noqa: PTH112
        text = f"no such folder: {program.folder}; clone the program there, or change it"
        faults.append(Fault(registry_file, f"{where}.path", f"{text} {needed}"))
    elif not os.path.isfile(program.script_path):  # noqa: PTH113
        text = f"no such file: {program.script_path}"
        faults.append(Fault(registry_file, f"{where}.train_script", f"{text} {needed}"))
    elif not os.access(program.script_path, os.X_OK):
        text = f"is not executable; run: chmod +x '{program.script_path}'"
        faults.append(Fault(registry_file, f"{where}.train_script", f"{text} {needed}"))
    python = interpreter_of(program)
    if not (os.path.isfile(python) and os.access(python, os.X_OK)):  # noqa: PTH113
        text = f"no such program: {python}; name the Python that this program needs"
        faults.append(Fault(registry_file, f"{where}.interpreter", f"{text} {needed}"))
    return faults + _gpu_choices(program, registry_file)


_GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")
_GPU_CHOICE = (
    "a program cannot have GPUs of its own: others would be measured than it trains on;"
    " set it for pytest itself ({call} pytest …): the meter follows that one"
)


def _gpu_choices(program: Program, registry_file: str) -> list[Fault]:
    """Return where a program is given GPUs of its own, which the meter would not follow."""
    return [
        Fault(registry_file, json_path(("models", program.name, "environment", name)), text)
        for name in _GPU_VARIABLES
        if (value := program.environment.get(name)) is not None
        for text in (_GPU_CHOICE.format(call=f"{name}={shlex.quote(value)}"),)
    ]
