"""Which GPUs NVML shows, which of them are visible to the training, and what each offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wattest.energy.gpu.board import Gpu
from wattest.energy.gpu.nvml import (
    FIELD_POWER_AVERAGE,
    FIELD_POWER_INSTANT,
    Handle,
    Nvml,
    NvmlFault,
    ask,
    is_unsupported,
    read_fields,
    why_absent,
)
from wattest.energy.gpu.visible import Visible, visible_gpus
from wattest.energy.types import Finding

_PERMISSION_REMEDY = (
    "run under sudo; or give this user the devices: ls -l /dev/nvidia* and "
    "sudo usermod -aG video $USER, then log in again; or accept it with --allow-missing gpu"
)
_FAULT_REMEDY = (
    "see `dmesg | grep -i nvrm`, reload the driver or reboot; or accept it with --allow-missing gpu"
)


@dataclass(frozen=True)
class GpuSearch:
    """What NVML offers.

    Attributes:
        gpus: Visible GPUs whose energy can be read.
        findings: GPUs that are not measured, and absences, with reasons.
        faults: GPUs that exist but cannot be read, one line each with its remedy.
        refusal: Why the energy of the visible GPUs cannot be added up; empty if it can.
        notes: What the reader should know, e.g. of CUDA's order of devices.
    """

    gpus: tuple[Gpu, ...] = ()
    findings: tuple[Finding, ...] = ()
    faults: tuple[str, ...] = ()
    refusal: str = ""
    notes: tuple[str, ...] = ()


def search_gpus(
    nvml: Nvml,
    proc_root: Path,
    visible_devices: str | None,
    device_order: str | None,
    allow_missing: frozenset[str] = frozenset(),
) -> GpuSearch:
    """Initialise NVML and see what is there; the caller shuts it down.

    Args:
        nvml: The module.
        proc_root: /proc, to tell a driver without its library from a machine without a GPU.
        visible_devices: The value of `CUDA_VISIBLE_DEVICES`.
        device_order: The value of `CUDA_DEVICE_ORDER`.
        allow_missing: If it holds `gpu`, what cannot be read is an absence and no fault.
    """
    search = _search(nvml, proc_root, visible_devices, device_order)
    if not search.faults or "gpu" not in allow_missing:
        return search
    accepted = "accepted by --allow-missing gpu"
    absences = tuple(
        Finding("gpu", "gpu", "unavailable", f"{fault}; {accepted}") for fault in search.faults
    )
    return replace(
        search,
        findings=search.findings + absences,
        faults=(),
        refusal="; ".join(filter(None, (search.refusal, *search.faults))),
    )


def _search(
    nvml: Nvml, proc_root: Path, visible_devices: str | None, device_order: str | None
) -> GpuSearch:
    try:
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        absent = why_absent(nvml, error, proc_root)
        if absent is None:
            return GpuSearch(faults=(_fault(nvml, "gpu", "NVML cannot start", error),))
        return GpuSearch(findings=(Finding("gpu", "gpu", "unavailable", *absent),))
    if not count:
        return _absence("NVML sees no GPU")
    devices = [_identify(nvml, index) for index in range(count)]
    visible = visible_gpus(visible_devices, [device.uuid for device in devices])
    if visible.mig:
        return _mig(visible.note)
    silent = _silent(visible_devices, visible, devices)
    if not visible.indices and not silent.faults:
        note = visible.note or f"CUDA_VISIBLE_DEVICES={visible_devices!r}"
        return _absence(f"{note}: no GPU is visible")
    search = _merge([*(_look(nvml, devices[index]) for index in visible.indices), silent])
    names = {gpu.name for gpu in search.gpus}
    notes = [visible.note] if visible.note and not silent.faults else []
    if visible.by_index and len(names) > 1 and device_order != "PCI_BUS_ID":
        notes.append(
            "GPUs of different models are chosen by index: CUDA orders them by speed, NVML by bus; "
            "set CUDA_DEVICE_ORDER=PCI_BUS_ID or choose by UUID"
        )
    return replace(search, notes=tuple(notes))


def _absence(reason: str) -> GpuSearch:
    return GpuSearch(findings=(Finding("gpu", "gpu", "unavailable", reason),))


def _mig(name: str) -> GpuSearch:
    reason = f"{name}: the energy of a board is not that of one of its MIG instances"
    return GpuSearch(findings=(Finding("gpu", "gpu", "rejected", reason),))


@dataclass(frozen=True)
class _Device:
    index: int
    uuid: str
    handle: Handle | None
    fault: str = ""


def _identify(nvml: Nvml, index: int) -> _Device:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        return _Device(index, nvml.nvmlDeviceGetUUID(handle), handle)
    except nvml.NVMLError as error:
        name = f"gpu {index}"
        return _Device(index, name, None, _fault(nvml, name, "it does not answer", error))


def _silent(variable: str | None, visible: Visible, devices: Sequence[_Device]) -> GpuSearch:
    """Faults of the devices that do not answer, if one of them may be what `variable` names.

    A UUID that no answering device bears may be that of one which did not even tell its UUID.
    """
    rest = () if variable is None else variable.split(",")[len(visible.indices) :]
    entry = rest[0].strip().lower() if rest else ""
    if not entry.startswith("gpu-") or any(one.uuid.lower().startswith(entry) for one in devices):
        return GpuSearch()
    return GpuSearch(faults=tuple(device.fault for device in devices if device.fault))


def _fault(nvml: Nvml, name: str, what: str, error: NvmlFault) -> str:
    forbidden = error.value == nvml.NVML_ERROR_NO_PERMISSION
    remedy = _PERMISSION_REMEDY if forbidden else _FAULT_REMEDY
    return f"{name}: {what}: {error}. Remedy: {remedy}"


def _look(nvml: Nvml, device: _Device) -> GpuSearch:
    """See what one GPU offers."""
    handle, uuid = device.handle, device.uuid
    if handle is None:
        return GpuSearch(faults=(device.fault,))
    mode = ask(nvml, nvml.nvmlDeviceGetMigMode, handle)
    if mode is not None and mode[0] == 1:
        reason = "MIG is enabled: the energy of the board is not that of one of its instances"
        remedy = f"sudo nvidia-smi -i {device.index} -mig 0"
        finding = Finding("gpu", uuid, "rejected", reason, remedy, details={"uuid": uuid})
        return GpuSearch(findings=(finding,), refusal=f"{uuid}: {reason}")
    try:
        has_counter = _has_counter(nvml, handle)
    except nvml.NVMLError as error:
        return GpuSearch(faults=(_fault(nvml, uuid, "its energy counter cannot be read", error),))
    answers = read_fields(nvml, handle, (FIELD_POWER_INSTANT, FIELD_POWER_AVERAGE))
    fields = tuple(field for field, number in answers.items() if number is not None)
    has_power = bool(fields) or ask(nvml, nvml.nvmlDeviceGetPowerUsage, handle) is not None
    if not has_counter and not has_power:
        reason = "it has neither an energy counter nor a power reading"
        finding = Finding("gpu", uuid, "unavailable", reason, details={"uuid": uuid})
        return GpuSearch(findings=(finding,), refusal=f"{uuid}: {reason}")
    limit = ask(nvml, nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    name = ask(nvml, nvml.nvmlDeviceGetName, handle) or "unknown"
    limit_watts = limit / 1e3 if limit else None
    gpu = Gpu(handle, device.index, uuid, name, has_counter, fields, has_power, limit_watts)
    return GpuSearch(gpus=(gpu,))


def _has_counter(nvml: Nvml, handle: Handle) -> bool:
    try:
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError as error:
        if is_unsupported(nvml, error):
            return False
        raise
    return True


def _merge(searches: list[GpuSearch]) -> GpuSearch:
    return GpuSearch(
        gpus=tuple(gpu for search in searches for gpu in search.gpus),
        findings=tuple(finding for search in searches for finding in search.findings),
        faults=tuple(dict.fromkeys(fault for search in searches for fault in search.faults)),
        refusal="; ".join(search.refusal for search in searches if search.refusal),
    )
