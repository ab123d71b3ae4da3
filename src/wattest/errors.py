"""The exceptions of wattest, written for the person who reads them.

Every message says what was wrong, where, and what to do::

    WattestError
    ├── ConfigurationError     settings, registry or options: one line per fault
    ├── EnergyError            a source of energy readings cannot do what it promised
    │   └── SensorPermissionError   it exists, but this user may not read it
    ├── ProcessError           a process tree could not be supervised
    │   ├── SpawnError         the command could not be started
    │   └── SurvivorError      something outlived SIGKILL and the deadline
    ├── LoadError              the background load is not a load
    ├── RecordError            a record is invalid or cannot be written
    ├── ExtraError             a part of wattest is not installed
    ├── LeaseError             another session measures on the same counters
    └── GpuMemoryError         the trainings need more GPU memory than they can have
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class WattestError(Exception):
    """Base of everything that wattest raises on purpose."""


class ConfigurationError(WattestError):
    """Faults in what the user wrote; `str()` is one line per fault, whatever a name in it holds."""

    def __init__(self, faults: Iterable[object]) -> None:
        self.faults = tuple(_CONTROL.sub(_escaped, str(fault)) for fault in faults)
        super().__init__("\n".join(self.faults))


class EnergyError(WattestError):
    """A source of energy readings cannot do what it promised."""


class SensorPermissionError(EnergyError):
    """A sensor exists but this user may not read it; the message carries the remedy."""


class ProcessError(WattestError):
    """A process tree could not be supervised."""


class SpawnError(ProcessError):
    """The command could not be started (missing program, wrong format, no permission)."""


class SurvivorError(ProcessError):
    """Something outlived SIGKILL and the deadline; the message names PID and state."""


class LoadError(WattestError):
    """The background load could not be started, or is not a load."""


class RecordError(WattestError):
    """A record is not valid against its schema, or cannot be written."""


class ExtraError(WattestError):
    """What was asked for needs packages that only an extra brings."""

    def __init__(self, need: str, extra: str) -> None:
        super().__init__(f"{need}: pip install 'wattest[{extra}]'")


class LeaseError(WattestError):
    """Another session already measures on the same counters; the message names its PID."""


class GpuMemoryError(WattestError):
    """The trainings need more GPU memory than is free, or than they may take."""


@dataclass(frozen=True)
class Fault:
    """One fault: the file as the user named it, the JSON path in it, and the remedy in words."""

    file: str
    path: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}::{self.path}" if self.path else self.file
        return f"{place}: {self.text}"


def _escaped(found: re.Match[str]) -> str:
    return repr(found[0])[1:-1]


def json_path(keys: Iterable[str | int]) -> str:
    """Return the JSON path of `keys`, such as ``$.experiments[2]["my key"]``."""
    path = "$"
    for key in keys:
        if isinstance(key, int):
            path += f"[{key}]"
        elif _IDENTIFIER.fullmatch(key):
            path += f".{key}"
        else:
            path += f"[{key!r}]"
    return path
