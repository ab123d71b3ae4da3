"""The driver's library, through `pynvml`: the only place that knows how it is called.

Functions, field numbers (`NVML_FI_DEV_*`), codes and units: nvml.h of the NVIDIA Management
Library.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wattest.energy.types import ReadingError

POWER_FIELDS = {186: "field 186 (POWER_INSTANT)", 185: "field 185 (POWER_AVERAGE)"}
"""Fields that give a GPU's power in milliwatts, the preferred one first."""
POWER_INSTANT = 186
AVERAGE_SECONDS = 1.0
"""Time over which `POWER_AVERAGE` is taken."""
THROTTLE_FIELDS = {
    74: "power cap",
    75: "thermal slowdown",
    269: "thermal slowdown by software",
    270: "thermal slowdown by hardware",
    271: "power brake of the hardware",
}
"""Cumulative counters in nanoseconds; a reader must know of all but the first."""

NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED = 3, 4, 9
LIBRARY_NOT_FOUND, FUNCTION_NOT_FOUND = 12, 13
CLOCK_SM, CLOCK_MEMORY = 1, 2
TEMPERATURE_GPU = 0

_BOARD = 0  # NVML_POWER_SCOPE_GPU: not the module, which on Grace-Hopper contains the CPU
_VALUE_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")


def code_of(error: Exception) -> object:
    """The code of an `Nvml.Error`."""
    return getattr(error, "value", None)


class Nvml:
    """The library; its functions are named without `nvml`, and raise its `Error`."""

    def __init__(self) -> None:
        self._library: Any = importlib.import_module("pynvml")
        self.Error: type[Exception] = self._library.NVMLError
        self._is_open = False

    def open(self) -> None:
        """Initialise it; raises `Error`."""
        self.call("Init")
        self._is_open = True

    def close(self) -> None:
        """Shut it down if it is initialised; may be called twice."""
        if self._is_open:
            self._is_open = False
            self.ask("Shutdown")

    def call(self, function: str, *arguments: object) -> Any:
        """Call a function; raises `Error`."""
        return getattr(self._library, f"nvml{function}")(*arguments)

    def ask(self, function: str, *arguments: object) -> Any:
        """Call a function; None where it is not answered, which means: not known."""
        try:
            return self.call(function, *arguments)
        except (self.Error, AttributeError):
            return None

    def reader(self, function: str, *arguments: object) -> Callable[[], Any]:
        """Return what calls a function again and again, and raises `ReadingError`."""
        called, failure = getattr(self._library, f"nvml{function}"), self.Error

        def read() -> Any:
            try:
                return called(*arguments)
            except failure as error:
                raise ReadingError("source_lost", f"NVML: {error}") from error

        return read

    def fields(self, handle: object, numbers: Iterable[int]) -> dict[int, float | None]:
        """Several fields of one GPU by number; None for those that are not answered."""
        found: dict[int, float | None] = dict.fromkeys(numbers)
        answers = self.ask("DeviceGetFieldValues", handle, [(one, _BOARD) for one in found])
        return found if answers is None else dict(zip(found, map(_number, answers), strict=True))

    def power_reader(
        self, handle: object, fields: Sequence[int]
    ) -> Callable[[], tuple[float, float | None]]:
        """Return what reads a GPU's power in watts: by the first field, and by the second.

        Without fields it is `nvmlDeviceGetPowerUsage`, and there is no second.
        """
        if not fields:
            usage = self.reader("DeviceGetPowerUsage", handle)
            return lambda: (usage() / 1e3, None)
        values = self.reader("DeviceGetFieldValues", handle, [(one, _BOARD) for one in fields])
        has_second = len(fields) > 1

        def read() -> tuple[float, float | None]:
            answers = values()
            first, second = _number(answers[0]), _number(answers[1]) if has_second else None
            if first is None:
                text = f"NVML: field {fields[0]} answered error {answers[0].nvmlReturn}"
                raise ReadingError("source_lost", text)
            return first / 1e3, None if second is None else second / 1e3

        return read


def _number(answer: Any) -> float | None:
    """The number in an `nvmlFieldValue_t`; None if this field was not answered."""
    if answer.nvmlReturn != 0 or not 0 <= answer.valueType < len(_VALUE_MEMBERS):
        return None
    number: float = getattr(answer.value, _VALUE_MEMBERS[answer.valueType])
    return number
