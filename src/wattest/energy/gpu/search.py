"""Which GPUs NVML shows, which of them are visible to the training, and what each offers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wattest.energy import design
from wattest.energy.counter import Counter
from wattest.energy.gpu import nvml
from wattest.energy.gpu.board import Gpu, pci_bus_id, read_limit
from wattest.energy.gpu.sensors import GpuSensors
from wattest.energy.gpu.visible import Visible, visible_gpus
from wattest.energy.types import Finding

_FORBIDDEN_REMEDY = (
    "run under sudo; or give this user the devices: ls -l /dev/nvidia* and "
    "sudo usermod -aG video $USER, then log in again"
)
_SUPERCHIP = r"\bG[HB]\d"  # Grace Hopper, Grace Blackwell
_LOST_REMEDY = "see `dmesg | grep -i nvrm`, reload the driver or reboot"


def find_gpus(proc_root: Path, environment: Mapping[str, str]) -> GpuSensors:
    """Initialise NVML and see what is there; it is shut down again where nothing is to be read.

    `proc_root` tells a driver without its library from a machine without a GPU.
    """
    library = nvml.Nvml()
    found = GpuSensors(library)
    try:
        library.open()
        devices = _identify(library)
    except nvml.NvmlError as error:
        found.absences.append(_why_absent(error, proc_root))
    else:
        _choose(found, devices, environment)
        found.learn_of_processes(proc_root)
    if not found.gpus:
        library.close()
    return found


@dataclass(frozen=True)
class VisibleGpu:
    """A GPU that `CUDA_VISIBLE_DEVICES` leaves visible, before anything of it is read.

    Attributes:
        entry: What names it there: an index stays an index, a UUID a UUID; its UUID where the
            variable is not set.
        pci_bus_id: Where it sits, such as `00000000:3B:00.0`; None if it does not tell.
    """

    entry: str
    uuid: str
    pci_bus_id: str | None


def visible_devices(environment: Mapping[str, str]) -> list[VisibleGpu]:
    """Return the GPUs that the caller may use, in its order; none where NVML does not start.

    One that does not answer is left out. NVML is shut down again.
    """
    library = nvml.Nvml()
    try:
        library.open()
        devices = _identify(library)
    except nvml.NvmlError:
        return []
    else:
        variable = environment.get("CUDA_VISIBLE_DEVICES")
        visible = visible_gpus(variable, [device.uuid for device in devices])
        chosen = [devices[index] for index in visible.indices]
        uuids = [device.uuid for device in chosen]
        entries = uuids if variable is None else variable.split(",")
        return [
            VisibleGpu(entry.strip(), one.uuid, pci_bus_id(library, one.handle))
            for entry, one in zip(entries, chosen, strict=False)
            if one.fault is None
        ]
    finally:
        library.close()


def _why_absent(error: nvml.NvmlError, proc_root: Path) -> Finding:
    """Why NVML could not start: there is no GPU to use, or something is wrong with it."""
    reason, remedy = "no NVIDIA GPU: libnvidia-ml.so.1 is not found", None
    if error.remedy:
        return _refused(str(error), error.remedy)
    if error.code == nvml.DRIVER_NOT_LOADED:
        reason = "NVML is present, but the NVIDIA driver is not loaded"
        remedy = "sudo modprobe nvidia"
    elif error.code != nvml.LIBRARY_NOT_FOUND:
        return _fault("gpu", "NVML cannot start", error)
    elif (proc_root / "driver" / "nvidia" / "version").exists():
        reason = "the NVIDIA driver is loaded, but libnvidia-ml.so.1 is not found"
        remedy = (
            "install the driver's libraries, or start the container with the GPU's utilities "
            "(--gpus all, NVIDIA_DRIVER_CAPABILITIES=compute,utility)"
        )
    return Finding("gpu", "gpu", "unavailable", reason, remedy)


def _fault(name: str, what: str, error: nvml.NvmlError) -> Finding:
    remedy = _FORBIDDEN_REMEDY if error.code == nvml.NO_PERMISSION else _LOST_REMEDY
    return _refused(f"{name}: {what}: {error}", error.remedy or remedy)


def _refused(reason: str, remedy: str) -> Finding:
    remedy = f"{remedy}; or accept it with --allow-missing gpu"
    line = f"{reason}. Remedy: {remedy}"
    return Finding("gpu", "gpu", "unreadable", reason, remedy, refusal=line)


@dataclass(frozen=True)
class _Device:
    """One GPU of the machine; one that does not answer has a fault, and `gpu N` for its UUID."""

    index: int
    uuid: str
    handle: object = None
    fault: Finding | None = None


def _identify(library: nvml.Nvml) -> list[_Device]:
    """All GPUs of the machine; of two that bear one UUID, the second is at fault."""
    found: dict[str, _Device] = {}
    for index in range(library.call("DeviceGetCount")):
        name = f"gpu {index}"
        try:
            handle = library.call("DeviceGetHandleByIndex", index)
            uuid = library.call("DeviceGetUUID", handle)
        except nvml.NvmlError as error:
            found[name] = _Device(index, name, fault=_fault(name, "it does not answer", error))
            continue
        if uuid and uuid not in found:
            found[uuid] = _Device(index, uuid, handle)
        else:
            whose = f"bears the UUID of gpu {found[uuid].index}" if uuid else "has no UUID"
            fault = _refused(f"{name}: {whose}: not to be told apart", _LOST_REMEDY)
            found[name] = _Device(index, name, fault=fault)
    return list(found.values())


def _choose(found: GpuSensors, devices: Sequence[_Device], environment: Mapping[str, str]) -> None:
    """Look at the visible devices."""
    variable = environment.get("CUDA_VISIBLE_DEVICES")
    visible = visible_gpus(variable, [device.uuid for device in devices])
    silent = _silent(variable, visible, devices)
    if not devices:
        found.absences.append(Finding("gpu", "gpu", "unavailable", "NVML sees no GPU"))
    elif visible.mig:
        reason = f"{visible.note}: the energy of a board is not that of one of its MIG instances"
        found.absences.append(Finding("gpu", "gpu", "rejected", reason))
    elif not visible.indices and not silent:
        note = visible.note or f"CUDA_VISIBLE_DEVICES={variable!r}"
        reason = f"{note}: no GPU is visible"
        found.absences.append(Finding("gpu", "gpu", "unavailable", reason))
    if found.absences:
        return
    for one in (*(_look_at(found.nvml, devices[index]) for index in visible.indices), *silent):
        if isinstance(one, Gpu):
            found.gpus.append(one)
        else:
            found.leave_out(one)
    if visible.note and not silent:
        found.notes.append(visible.note)
    is_by_bus = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if visible.by_index and not is_by_bus and len({gpu.name for gpu in found.gpus}) > 1:
        found.notes.append(
            "GPUs of different models are chosen by index: CUDA orders them by speed, NVML by bus; "
            "set CUDA_DEVICE_ORDER=PCI_BUS_ID or choose by UUID"
        )


def _silent(variable: str | None, visible: Visible, devices: Sequence[_Device]) -> list[Finding]:
    """Faults of the devices that do not answer, if one of them may be what `variable` names.

    A UUID that no answering device bears may be that of one which did not even tell its UUID.
    """
    rest = () if variable is None else variable.split(",")[len(visible.indices) :]
    entry = rest[0].strip().lower() if rest else ""
    if not entry.startswith("gpu-") or any(one.uuid.lower().startswith(entry) for one in devices):
        return []
    return [device.fault for device in devices if device.fault is not None]


def _look_at(library: nvml.Nvml, device: _Device) -> Gpu | Finding:
    """One GPU, or why it is not read."""
    handle, uuid, ask = device.handle, device.uuid, library.ask
    if device.fault is not None:
        return device.fault
    if (ask("DeviceGetMigMode", handle) or [0])[0] == 1:
        reason = "MIG is enabled: the energy of the board is not that of one of its instances"
        remedy = f"sudo nvidia-smi -i {device.index} -mig 0"
        return Finding("gpu", uuid, "rejected", reason, remedy, details={"uuid": uuid})
    try:
        counter = _counter(library, handle, uuid)
    except nvml.NvmlError as error:
        return _fault(uuid, "its energy counter cannot be read", error)
    answers = library.fields(handle, nvml.POWER_FIELDS)
    fields = [number for number, answer in answers.items() if answer is not None]
    has_power = bool(fields) or ask("DeviceGetPowerUsage", handle) is not None
    if counter is None and not has_power:
        reason = "it has neither an energy counter nor a power reading"
        return Finding("gpu", uuid, "unavailable", reason, details={"uuid": uuid})
    name = ask("DeviceGetName", handle) or "unknown"
    usage = "nvmlDeviceGetPowerUsage" if has_power else None
    return Gpu(
        nvml=library,
        handle=handle,
        index=device.index,
        uuid=uuid,
        name=name,
        limit_watts=read_limit(library, handle),
        counter=counter,
        read_power=library.power_reader(handle, fields) if has_power else None,
        power_source=nvml.POWER_FIELDS[fields[0]] if fields else usage,
        has_fields=bool(fields),
        averages_power=fields[:1] != [nvml.POWER_INSTANT],
        is_superchip=re.search(_SUPERCHIP, name) is not None,
    )


def _counter(library: nvml.Nvml, handle: object, uuid: str) -> Counter | None:
    """The energy counter of a GPU, in millijoules; None if it has none."""
    try:
        library.call("DeviceGetTotalEnergyConsumption", handle)
    except nvml.NvmlError as error:
        if error.code in (nvml.NOT_SUPPORTED, nvml.FUNCTION_NOT_FOUND):
            return None
        raise
    return Counter(
        label=uuid,
        domain="gpu",
        read=library.reader(int, "DeviceGetTotalEnergyConsumption", handle),
        joules_per_count=1e-3,
        most_watts=design.JUMP_POWER_WATTS,
        unseen_step_seconds=design.ASSUMED_GPU_PERIOD_SECONDS,
    )
