"""The driver's library, through `pynvml`: the only place that knows how it is called.

Functions, field numbers (`NVML_FI_DEV_*`), codes and units: nvml.h of the NVIDIA Management
Library.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import re
import reprlib
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from typing import Any, TypeVar

from wattest.energy import design
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
# What functions answer that answer no number.
_KINDS: dict[str, type] = {
    function: kind
    for kind, functions in (
        (str, "DeviceGetName DeviceGetUUID DeviceGetVbiosVersion"),
        (str, "SystemGetDriverVersion SystemGetNVMLVersion"),
        (list, "DeviceGetComputeRunningProcesses DeviceGetMigMode"),
        (object, "DeviceGetFieldValues DeviceGetMemoryInfo DeviceGetPciInfo"),
        (object, "DeviceGetUtilizationRates DeviceGetHandleByIndex Init Shutdown"),
    )
    for function in functions.split()
}
T = TypeVar("T")


class NvmlError(EnergyError):
    """A function of the library failed, with its `code` (`NVML_ERROR_*`) if there is one.

    It has a `remedy` where the module `pynvml` is another one than that of nvidia-ml-py.
    """

    def __init__(self, text: str, code: int | None = None, remedy: str = "") -> None:
        self.code = code
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
            NvmlError: It cannot start, or what is imported as `pynvml` does not know it.
        """
        try:
            self._library = importlib.import_module("pynvml")
            missing = [name for name in _NEEDED if not hasattr(self._library, f"nvml{name}")]
        except (Exception, SystemExit) as error:  # whatever a stranger's module raises
            raise _foreign(None, f"cannot be imported: {error}") from error
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
        """Call a function; text that cannot be printed is written out.

        Raises:
            NvmlError: It failed, in whatever way its module says so, or what it answered is
                nothing that it could.
        """
        answer = self._answer(function, *arguments)
        if not isinstance(answer, _KINDS.get(function, int)):
            shown = reprlib.repr(answer)
            raise _foreign(self._library, f"answers {shown} to nvml{function}")
        return answer

    def ask(self, function: str, *arguments: object) -> Any:
        """Call a function; None where it is not answered, which means: not known."""
        try:
            answer = self._answer(function, *arguments)
        except NvmlError:
            return None
        return answer if isinstance(answer, _KINDS.get(function, int)) else None

    def ask_members(self, function: str, handle: object, *names: str) -> list[int | None]:
        """Call a function that answers a struct of numbers; None for those that it lacks."""
        answer = self.ask(function, handle)
        found = (getattr(answer, name, None) for name in names)
        return [one if isinstance(one, int) else None for one in found]

    def _answer(self, function: str, *arguments: object) -> object:
        try:
            answer: object = getattr(self._library, f"nvml{function}")(*arguments)
        except UnicodeDecodeError as error:
            answer = error.object
        except Exception as error:
            raise NvmlError(str(error) or repr(error), getattr(error, "value", None)) from error
        if isinstance(answer, bytes):
            answer = answer.decode("utf-8", "backslashreplace")
        if isinstance(answer, str) and not answer.isprintable():
            return answer.encode("unicode_escape").decode("ascii")
        return answer

    def reader(
        self, convert: Callable[[Any], T], function: str, *arguments: object
    ) -> Callable[[], T]:
        """Return what calls a function again and again, and raises `ReadingError`."""
        called = getattr(self._library, f"nvml{function}")

        def read() -> T:
            try:
                return convert(called(*arguments))
            except Exception as error:
                raise ReadingError("source_lost", f"NVML: {error}") from error

        return read

    def fields(self, handle: object, numbers: Iterable[int]) -> dict[int, float | None]:
        """Several fields of one GPU by number; None for those that are not answered."""
        found = list(numbers)
        asked = [(one, _BOARD) for one in found]
        answers = self.ask("DeviceGetFieldValues", handle, asked)
        return dict.fromkeys(found) | dict(zip(found, _numbers(answers), strict=False))

    def processes(self, handle: object) -> list[int]:
        """PIDs of the compute processes of a GPU; raises `NvmlError` where it does not tell."""
        found = self.call("DeviceGetComputeRunningProcesses", handle)
        pids = [one.pid for one in found if isinstance(getattr(one, "pid", None), int)]
        if len(pids) < len(found):
            raise _foreign(self._library, "answers processes without PIDs")
        return pids

    def power_reader(
        self, handle: object, fields: Sequence[int]
    ) -> Callable[[], tuple[float, float | None]]:
        """Return what reads a GPU's power in watts: by the first field, and by the second.

        Without fields it is `nvmlDeviceGetPowerUsage`, and there is no second.
        """
        if not fields:
            return self.reader(_usage_watts, "DeviceGetPowerUsage", handle)
        asked = [(one, _BOARD) for one in fields]
        return self.reader(_field_watts, "DeviceGetFieldValues", handle, asked)


def _throttle_fields(driver_version: str) -> dict[str, int | None]:
    version = tuple(int(one) for one in re.findall(r"\d+", driver_version)[:2])
    numbers = (one for since, one in _SLOWDOWN_FIELDS if version >= since)
    return {**_POLICIES, **dict(zip(_SLOWDOWNS, next(numbers, (None,) * 3), strict=True))}


def _numbers(answers: Any) -> list[float | None]:
    """The number in each `nvmlFieldValue_t`; None for a field that was not answered."""
    try:
        return [_number(one) for one in answers]
    except (TypeError, AttributeError):
        return []


def _number(answer: Any) -> float | None:
    if answer.nvmlReturn != 0 or not 0 <= answer.valueType < len(_VALUE_MEMBERS):
        return None
    number: float = getattr(answer.value, _VALUE_MEMBERS[answer.valueType])
    return number


def _field_watts(answers: Any) -> tuple[float, float | None]:
    first = _number(answers[0])
    second = _number(answers[1]) if len(answers) > 1 else None
    return _watts(first), None if second is None else _watts(second)


def _usage_watts(milliwatts: Any) -> tuple[float, None]:
    return _watts(milliwatts), None


def _watts(milliwatts: float | None) -> float:
    """Power by what was read; raises `ValueError` where no board can have it."""
    if milliwatts is None or not 0 <= milliwatts <= 1e3 * design.JUMP_POWER_WATTS:
        raise ValueError(f"its power is told as {milliwatts} mW")
    return milliwatts / 1e3


def _foreign(library: Any, what: str) -> NvmlError:
    """What to say of a module that is not that of nvidia-ml-py, where there is a driver at all."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return NvmlError("no library", LIBRARY_NOT_FOUND)
    path = str(getattr(library, "__file__", None) or _path_of("pynvml"))
    install = "pip install --force-reinstall nvidia-ml-py"
    if not path:
        return NvmlError(f"the module pynvml {what}", remedy=install)
    owner = _owner(path)
    if owner is None:
        text = f"the module pynvml comes from {path}, not from nvidia-ml-py: it {what}"
        is_installed = "site-packages" in path
        return NvmlError(text, remedy=install if is_installed else f"rename or remove {path}")
    name = owner.metadata["Name"]
    whose = f"{path} (the old distribution {name} {owner.version})"
    text = f"the module pynvml comes from {whose}, not from nvidia-ml-py: it {what}"
    return NvmlError(text, remedy=f"pip uninstall {name} && {install}")


def _path_of(module: str) -> str:
    """Where a module would be imported from; empty where it would not be found."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ""
    return (spec.origin if spec else None) or ""


@functools.cache
def _owner(path: str) -> metadata.Distribution | None:
    """The distribution that a module is of, if that is another one than nvidia-ml-py."""
    return next(
        (
            distribution
            for distribution in metadata.distributions()
            if distribution.metadata["Name"] != "nvidia-ml-py"
            for one in distribution.files or ()
            if one.name in path and str(one.locate()) == path
        ),
        None,
    )
