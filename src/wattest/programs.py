"""What a registry describes: programs that can be trained, and their hyper-parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
