"""What this package uses of `pynvml`, with types, since that module has none.

Field numbers and their units: nvml.h of the NVIDIA Management Library (`NVML_FI_DEV_*`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar, cast

FIELD_POWER_INSTANT = 186
FIELD_POWER_AVERAGE = 185
FIELD_POWER_CAP = 74
AVERAGE_SECONDS = 1.0
"""Time over which `POWER_AVERAGE` is taken."""
THROTTLE_FIELDS = {
    75: "thermal slowdown",
    269: "thermal slowdown by software",
    270: "thermal slowdown by hardware",
    271: "power brake of the hardware",
}
"""Cumulative counters in nanoseconds that tell of throttling a reader must know of."""

_VALUE_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Handle(Protocol):
    """NVML's handle of a device; opaque."""


class FieldValue(Protocol):
    """`nvmlFieldValue_t`: one answer of `nvmlDeviceGetFieldValues`."""

    fieldId: int
    scopeId: int
    valueType: int
    nvmlReturn: int
    value: object


class Memory(Protocol):
    """`nvmlMemory_t`, in bytes."""

    total: int
    free: int
    used: int


class Utilization(Protocol):
    """`nvmlUtilization_t`, in per cent."""

    gpu: int
    memory: int


class Process(Protocol):
    """`nvmlProcessInfo_t`."""

    pid: int


class NvmlFault(Exception):
    """Stands for `pynvml.NVMLError`, whose instances carry the code; never raised itself."""

    value: int


class Nvml(Protocol):
    """The functions of `pynvml` that are used here; each raises its `NVMLError`."""

    NVMLError: type[NvmlFault]
    NVML_ERROR_NOT_SUPPORTED: int
    NVML_ERROR_FUNCTION_NOT_FOUND: int
    NVML_ERROR_NO_PERMISSION: int
    NVML_ERROR_LIBRARY_NOT_FOUND: int
    NVML_ERROR_DRIVER_NOT_LOADED: int
    NVML_TEMPERATURE_GPU: int
    NVML_CLOCK_SM: int
    NVML_CLOCK_MEM: int

    nvmlInit: Callable[[], None]
    nvmlShutdown: Callable[[], None]
    nvmlSystemGetDriverVersion: Callable[[], str]
    nvmlSystemGetNVMLVersion: Callable[[], str]
    nvmlSystemGetCudaDriverVersion: Callable[[], int]
    nvmlDeviceGetCount: Callable[[], int]
    nvmlDeviceGetHandleByIndex: Callable[[int], Handle]
    nvmlDeviceGetUUID: Callable[[Handle], str]
    nvmlDeviceGetName: Callable[[Handle], str]
    nvmlDeviceGetVbiosVersion: Callable[[Handle], str]
    nvmlDeviceGetMigMode: Callable[[Handle], Sequence[int]]
    nvmlDeviceGetComputeMode: Callable[[Handle], int]
    nvmlDeviceGetPersistenceMode: Callable[[Handle], int]
    nvmlDeviceGetEnforcedPowerLimit: Callable[[Handle], int]
    nvmlDeviceGetPowerManagementDefaultLimit: Callable[[Handle], int]
    nvmlDeviceGetMaxClockInfo: Callable[[Handle, int], int]
    nvmlDeviceGetClockInfo: Callable[[Handle, int], int]
    nvmlDeviceGetTemperature: Callable[[Handle, int], int]
    nvmlDeviceGetUtilizationRates: Callable[[Handle], Utilization]
    nvmlDeviceGetMemoryInfo: Callable[[Handle], Memory]
    nvmlDeviceGetPowerUsage: Callable[[Handle], int]
    nvmlDeviceGetTotalEnergyConsumption: Callable[[Handle], int]
    nvmlDeviceGetComputeRunningProcesses: Callable[[Handle], Sequence[Process]]
    nvmlDeviceGetFieldValues: Callable[[Handle, Sequence[tuple[int, int]]], Sequence[FieldValue]]


def load_nvml() -> Nvml:
    """Import `pynvml`; nothing is initialised yet."""
    return cast(Nvml, importlib.import_module("pynvml"))


def is_unsupported(nvml: Nvml, error: NvmlFault) -> bool:
    """Whether the device or the driver does not offer this at all."""
    return error.value in (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND)


def ask(
    nvml: Nvml, function: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs
) -> _T | None:
    """Call a function of NVML; None where it is not answered, which means: not known."""
    try:
        return function(*arguments, **named)
    except nvml.NVMLError:
        return None


def field_number(answer: FieldValue) -> float | None:
    """The number in one answer; None if this field was not answered."""
    if answer.nvmlReturn != 0 or not 0 <= answer.valueType < len(_VALUE_MEMBERS):
        return None
    number: float = getattr(answer.value, _VALUE_MEMBERS[answer.valueType])
    return number


def read_fields(nvml: Nvml, handle: Handle, fields: Sequence[int]) -> dict[int, float | None]:
    """Several fields of one GPU by number; None for those that are not answered."""
    answers = ask(nvml, nvml.nvmlDeviceGetFieldValues, handle, [(one, 0) for one in fields])
    if answers is None:
        return dict.fromkeys(fields)
    return {field: field_number(one) for field, one in zip(fields, answers, strict=True)}


def why_absent(nvml: Nvml, error: NvmlFault, proc_root: Path) -> tuple[str, str | None] | None:
    """Reason and remedy if NVML could not start because there is no GPU to use; else None."""
    if error.value == nvml.NVML_ERROR_DRIVER_NOT_LOADED:
        return "NVML is present, but the NVIDIA driver is not loaded", "sudo modprobe nvidia"
    if error.value != nvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        return None
    if (proc_root / "driver" / "nvidia" / "version").exists():
        return (
            "the NVIDIA driver is loaded, but libnvidia-ml.so.1 is not found",
            "install the driver's libraries, or start the container with the GPU's utilities "
            "(--gpus all, NVIDIA_DRIVER_CAPABILITIES=compute,utility)",
        )
    return "no NVIDIA GPU: libnvidia-ml.so.1 is not found", None
