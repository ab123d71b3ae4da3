"""The driver's library, through `pynvml`: the only place that knows how it is called.

Functions, field numbers (`NVML_FI_DEV_*`), codes and units: nvml.h of the NVIDIA Management
Library.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from typing import Any

from wattest.energy.types import ReadingError
from wattest.errors import EnergyError

POWER_FIELDS = {186: "field 186 (POWER_INSTANT)", 185: "field 185 (POWER_AVERAGE)"}
"""Fields that give a GPU's power in milliwatts, the preferred one first."""
POWER_INSTANT = 186
AVERAGE_SECONDS = 1.0
"""Time over which `POWER_AVERAGE` is taken."""

NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED = 3, 4, 9
LIBRARY_NOT_FOUND, FUNCTION_NOT_FOUND = 12, 13
CLOCK_SM, CLOCK_MEMORY = 1, 2
TEMPERATURE_GPU = 0

_BOARD = 0  # NVML_POWER_SCOPE_GPU: not the module, which on a superchip contains the CPU
_VALUE_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
_POLICIES = {"power cap": 74, "thermal slowdown": 75}
_SLOWDOWNS = (
    "thermal slowdown by software", "thermal slowdown by hardware", "power brake of the hardware",
)  # fmt: skip
# The driver's version from which on the slowdowns are counted, and their fields from there. What
# drivers in between give by the later numbers are settings of power smoothing.
_SLOWDOWN_FIELDS = (((580, 82), (269, 270, 271)), ((575, 0), (251, 252, 253)))
_NEEDED = (
    "Init", "DeviceGetCount", "DeviceGetHandleByIndex", "DeviceGetUUID", "DeviceGetMigMode",
    "DeviceGetTotalEnergyConsumption", "DeviceGetFieldValues", "DeviceGetPowerUsage",
)  # fmt: skip


class NvmlError(EnergyError):
    """A function of the library failed, with its `code` (`NVML_ERROR_*`) if there is one."""

    def __init__(self, text: str, code: int | None = None) -> None:
        self.code = code
        super().__init__(text)


class ForeignModuleError(EnergyError):
    """The module `pynvml` is another one than that of nvidia-ml-py; it has a `remedy`."""

    def __init__(self, text: str, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(text)


class Nvml:
    """The library; its functions are named without `nvml`.

    Once it is open, `throttle_fields` names those that count throttling in nanoseconds, by cause;
    None where this version of the driver has none.
    """

    def __init__(self) -> None:
        self._library: Any = None
        self._is_open = False
        self.throttle_fields: dict[str, int | None] = {}

    def open(self) -> None:
        """Initialise it.

        Raises:
            NvmlError: It cannot start.
            ForeignModuleError: What is imported as `pynvml` does not know it.
        """
        try:
            self._library = importlib.import_module("pynvml")
        except (Exception, SystemExit) as error:  # whatever a stranger's module raises
            raise _foreign(None, f"cannot be imported: {error}") from error
        missing = [name for name in _NEEDED if not hasattr(self._library, f"nvml{name}")]
        if missing:
            raise _foreign(self._library, f"has no nvml{missing[0]}")
        self.call("Init")
        self._is_open = True
        self.throttle_fields = _throttle_fields(self.ask("SystemGetDriverVersion") or "")

    def close(self) -> None:
        """Shut it down if it is initialised; may be called twice."""
        if self._is_open:
            self._is_open = False
            self.ask("Shutdown")

    def call(self, function: str, *arguments: object) -> Any:
        """Call a function; of a text, bytes that are no UTF-8 are written out.

        Raises:
            NvmlError: It failed, in whatever way its module says so.
        """
        try:
            answer = getattr(self._library, f"nvml{function}")(*arguments)
        except UnicodeDecodeError as error:
            answer = error.object
        except Exception as error:
            raise NvmlError(str(error) or repr(error), getattr(error, "value", None)) from error
        return answer.decode("utf-8", "backslashreplace") if isinstance(answer, bytes) else answer

    def ask(self, function: str, *arguments: object) -> Any:
        """Call a function; None where it is not answered, which means: not known."""
        try:
            return self.call(function, *arguments)
        except NvmlError:
            return None

    def reader(self, function: str, *arguments: object) -> Callable[[], Any]:
        """Return what calls a function again and again, and raises `ReadingError`."""
        called = getattr(self._library, f"nvml{function}")

        def read() -> Any:
            try:
                return called(*arguments)
            except Exception as error:
                raise ReadingError("source_lost", f"NVML: {error}") from error

        return read

    def fields(self, handle: object, numbers: Iterable[int]) -> dict[int, float | None]:
        """Several fields of one GPU by number; None for those that are not answered."""
        found: dict[int, float | None] = dict.fromkeys(numbers)
        answers = self.ask("DeviceGetFieldValues", handle, [(one, _BOARD) for one in found])
        return found if not answers else dict(zip(found, map(_number, answers), strict=True))

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


def _throttle_fields(driver_version: str) -> dict[str, int | None]:
    version = tuple(int(one) for one in re.findall(r"\d+", driver_version)[:2])
    numbers = (one for since, one in _SLOWDOWN_FIELDS if version >= since)
    return {**_POLICIES, **dict(zip(_SLOWDOWNS, next(numbers, (None,) * 3), strict=True))}


def _number(answer: Any) -> float | None:
    """The number in an `nvmlFieldValue_t`; None if this field was not answered."""
    if answer.nvmlReturn != 0 or not 0 <= answer.valueType < len(_VALUE_MEMBERS):
        return None
    number: float = getattr(answer.value, _VALUE_MEMBERS[answer.valueType])
    return number


def _foreign(library: Any, what: str) -> EnergyError:
    """What to say of a module that is not that of nvidia-ml-py, where there is a driver at all."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return NvmlError("no library", LIBRARY_NOT_FOUND)
    path = str(getattr(library, "__file__", None) or _path_of("pynvml"))
    install = "pip install --force-reinstall nvidia-ml-py"
    if not path:
        return ForeignModuleError(f"the module pynvml {what}", install)
    owner = next((one for one in metadata.distributions() if _owns(one, path)), None)
    if owner is None:
        text = f"the module pynvml comes from {path}, not from nvidia-ml-py: it {what}"
        is_installed = "site-packages" in path
        return ForeignModuleError(text, install if is_installed else f"rename or remove {path}")
    name = owner.metadata["Name"]
    whose = f"{path} (the old distribution {name} {owner.version})"
    text = f"the module pynvml comes from {whose}, not from nvidia-ml-py: it {what}"
    return ForeignModuleError(text, f"pip uninstall {name} && {install}")


def _path_of(module: str) -> str:
    """Where a module would be imported from; empty where it would not be found."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ""
    return (spec.origin if spec else None) or ""


def _owns(distribution: metadata.Distribution, path: str) -> bool:
    """Whether a module is that of a distribution, which is not nvidia-ml-py."""
    if distribution.metadata["Name"] == "nvidia-ml-py":
        return False
    files = distribution.files or ()
    return any(one.name in path and str(one.locate()) == path for one in files)
