"""What a registry describes: programs that can be trained, and their hyper-parameters."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wattest.errors import Fault, json_path
from wattest.files import obstacle, user_name, why_not_executable
from wattest.process import first_refused

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

    def faults(self) -> list[tuple[str, str]]:
        """Return (JSON key, what to mend) for all that contradicts itself in this definition."""
        low, high = self.minimum, self.maximum
        found = [
            (key, f"{value} is not an int, as the parameter's type asks")
            for key, value in (("range", low), ("range", high), ("default", self.default))
            if self.kind == "int" and value is not None and value != int(value)
        ]
        if low > high:
            return [*found, ("range", f"[{low}, {high}] is upside down; write [{high}, {low}]")]
        if self.kind == "int" and high - low >= sys.float_info.max:
            found.append(("range", f"[{low:g}, {high:g}] is too wide to draw from; narrow it"))
        if self.distribution == "log_uniform" and low <= 0:
            remedy = "use zero_probability for exact zeros, or the uniform distribution"
            found.append(
                ("range", f"a log_uniform range must be above 0, starts at {low}; {remedy}")
            )
        return found + [("levels", text) for text in self.level_faults(self.levels or ())]

    def level_faults(self, levels: Sequence[Value]) -> list[str]:
        """Return why these cannot be the only values drawn, one text for each that cannot."""
        found = []
        for level in levels:
            within = self.minimum <= level <= self.maximum or level == self.default
            if self.kind == "int" and level != int(level):
                found.append(f"{level} is not an int, as the parameter's type asks")
            elif not within and not (level == 0 and self.zero_probability > 0):
                span = f"[{self.minimum}, {self.maximum}]"
                found.append(
                    f"{level} is outside the range {span}; widen it, or leave the level out"
                )
        return found


@dataclass(frozen=True)
class Program:
    """One repository of the registry.

    `folder` is absolute; `script` is written as it stands in the command, relative to `folder`.
    `digest` is that of its entry in the registry, without what is free text in it.
    """

    name: str
    folder: Path
    script: str
    models: tuple[str, ...]
    model_flag: str | None
    required_arguments: tuple[str, ...]
    hyperparameters: Mapping[str, Hyperparameter]
    log_patterns: Mapping[str, re.Pattern[str]]
    better: Mapping[str, str]
    environment: Mapping[str, str]
    interpreter: str | None
    progress: re.Pattern[str] | None
    gpu_memory_mb: int | None
    digest: str

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


_LONGEST_SCRIPT_BYTES = 1 << 16
_GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")
_GPU_CHOICE = (
    "a program cannot have GPUs of its own: others would be measured than it trains on;"
    " set it for pytest itself ({call} pytest …): the meter follows that one"
)


def program_faults(
    program: Program, registry_file: str, needed_by: str, run_as: tuple[int, int] | None = None
) -> list[Fault]:
    """Return what keeps a program from being started, before it is tried.

    `run_as` is (uid, gid) of the user who shall run it; None for this one.
    """
    missing = list(_missing(program)) or list(_refused(program, run_as))
    found = [(key, f"{text} (needed by {needed_by})") for key, text in missing]
    found += [
        (f"environment.{name}", _GPU_CHOICE.format(call=f"{name}={shlex.quote(value)}"))
        for name in _GPU_VARIABLES
        if (value := program.environment.get(name)) is not None
    ]
    where = json_path(("models", program.name))
    return [Fault(registry_file, f"{where}.{key}", text) for key, text in found]


def _missing(program: Program) -> Iterator[tuple[str, str]]:
    """Yield (JSON key, what to mend) for what cannot be found or started."""
    # Not the methods of Path: they raise for what may not be looked at.
    if not os.path.isdir(program.folder):  # noqa: PTH112
        reason = obstacle(program.folder) or f"no such folder: {program.folder}"
        text = f"{reason}; clone the program there, or change it"
        yield "path", text
    elif not os.path.isfile(program.script_path):  # noqa: PTH113
        yield "train_script", f"no such file: {program.script_path}; name a file, without arguments"
    elif not os.access(program.script_path, os.X_OK):
        yield "train_script", why_not_executable(program.script_path)
    python = interpreter_of(program)
    if not os.path.isfile(python):  # noqa: PTH113
        yield "interpreter", f"no such program: {python}; give the path of a Python"
    elif not os.access(python, os.X_OK):
        yield "interpreter", why_not_executable(python)


def _refused(program: Program, run_as: tuple[int, int] | None) -> Iterator[tuple[str, str]]:
    """Yield (JSON key, what to mend) for what is there, but not for the user who shall run it."""
    if run_as is None or run_as[0] == os.geteuid():
        return
    ways = {"train_script": program.script_path}
    if program.interpreter or _mentions_python(program.script_path):
        ways["interpreter"] = interpreter_of(program)
    for key, path in ways.items():
        if (refused := first_refused(path, run_as)) is not None:
            where = "" if refused == path else f": {refused} is closed to that user"
            remedy = "open it" if refused.is_dir() else f"run: chmod a+rx '{refused}'"
            text = f"user {user_name(run_as[0])} may not run {path}{where}; {remedy}"
            yield key, f"{text}, or run the trainings as root: --run-as root"


def _mentions_python(script: Path) -> bool:
    """Tell whether a script may start our own Python, which a program that names none gets."""
    with script.open("rb") as file:
        return b"python" in file.read(_LONGEST_SCRIPT_BYTES).lower()
