"""NVIDIA GPUs through NVML: which are visible, what each offers, and reading one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wattest.energy.base import Clock, Finding, ReadingError
from wattest.energy.gpu_recording import GpuRecording
from wattest.energy.gpu_state import GpuState, gpu_processes, hardware_of, state_of
from wattest.energy.nvml_api import (
    FIELD_POWER_AVERAGE,
    FIELD_POWER_INSTANT,
    Handle,
    Nvml,
    NvmlFault,
    ask,
    is_unsupported,
    load_nvml,
    read_fields,
    why_absent,
)
from wattest.energy.gpu import Gpu, GpuReader
from wattest.energy.probe import Probed
from wattest.energy.thresholds import Thresholds
from wattest.energy.traces import TraceFolder
from wattest.energy.visible import visible_gpus

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
    nvml: Nvml, proc_root: Path, visible_devices: str | None, device_order: str | None
) -> GpuSearch:
    """Initialise NVML and see what is there; the caller shuts it down.

    Args:
        nvml: The module.
        proc_root: /proc, to tell a driver without its library from a machine without a GPU.
        visible_devices: The value of `CUDA_VISIBLE_DEVICES`.
        device_order: The value of `CUDA_DEVICE_ORDER`.
    """
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
    handles, faults = _handles(nvml, count)
    visible = visible_gpus(visible_devices, [uuid for _, uuid in handles])
    if visible.mig:
        return _mig(visible.note)
    if not visible.indices:
        if faults and visible_devices is None:
            return GpuSearch(faults=tuple(faults))
        note = visible.note or f"CUDA_VISIBLE_DEVICES={visible_devices!r}"
        return _absence(f"{note}: no GPU is visible")
    looks = [_look(nvml, *handles[index], index) for index in visible.indices]
    if visible_devices is None:
        looks.append(GpuSearch(faults=tuple(faults)))
    search = _merge(looks)
    names = {gpu.name for gpu in search.gpus}
    notes = [visible.note] if visible.note else []
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


def _handles(nvml: Nvml, count: int) -> tuple[list[tuple[Handle | None, str]], list[str]]:
    """Handle and UUID by index; a GPU that does not give its own has the UUID ''."""
    found: list[tuple[Handle | None, str]] = []
    faults: list[str] = []
    for index in range(count):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            found.append((handle, nvml.nvmlDeviceGetUUID(handle)))
        except nvml.NVMLError as error:
            found.append((None, f"gpu {index}"))
            faults.append(_fault(nvml, f"gpu {index}", "it is there but does not answer", error))
    return found, faults


def _fault(nvml: Nvml, name: str, what: str, error: NvmlFault) -> str:
    forbidden = error.value == nvml.NVML_ERROR_NO_PERMISSION
    remedy = _PERMISSION_REMEDY if forbidden else _FAULT_REMEDY
    return f"{name}: {what}: {error}. Remedy: {remedy}"


def _look(nvml: Nvml, handle: Handle | None, uuid: str, index: int) -> GpuSearch:
    """See what one GPU offers."""
    if handle is None:
        return GpuSearch(faults=(f"{uuid}: it is there but does not answer. Remedy: {_FAULT_REMEDY}",))
    mode = ask(nvml, nvml.nvmlDeviceGetMigMode, handle)
    if mode is not None and mode[0] == 1:
        reason = "MIG is enabled: the energy of the board is not that of one of its instances"
        remedy = f"sudo nvidia-smi -i {index} -mig 0"
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
    gpu = Gpu(handle, index, uuid, name, has_counter, fields, has_power, limit_watts)
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


class NvidiaGpus:
    """The visible GPUs of this machine.

    Args:
        nvml: The module, initialised; closing shuts it down.
        search: What it offers.
        thresholds: The design values.
        clock: The clock.
        sample_hz: How often power is sampled.
        idle_watts: Idle baselines by UUID, shared with the session.
    """

    def __init__(
        self,
        nvml: Nvml,
        search: GpuSearch,
        thresholds: Thresholds,
        clock: Clock,
        sample_hz: float,
        idle_watts: Mapping[str, float],
    ) -> None:
        self._nvml = nvml
        self._search = search
        self._gpus = search.gpus
        self._thresholds = thresholds
        self._clock = clock
        self._sample_hz = sample_hz
        self._idle_watts = idle_watts
        self._is_open = True

    def counters(self) -> Mapping[str, Callable[[], int]]:
        """How to read each energy counter in millijoules, by UUID."""
        return {
            gpu.uuid: GpuReader(self._nvml, gpu).millijoules for gpu in self._gpus if gpu.has_counter
        }

    def learn(self, probed: Mapping[str, Probed]) -> None:
        """Take what the probe found; a counter that stands at 0 is none."""
        self._gpus = tuple(
            replace(gpu, probed=seen, has_counter=gpu.has_counter and not _stands_at_zero(seen))
            for gpu in self._gpus
            for seen in (probed.get(gpu.uuid),)
        )

    def findings(self) -> tuple[Finding, ...]:
        """Every GPU, measured or not."""
        return (*(_finding(gpu, self._search) for gpu in self._gpus), *self._search.findings)

    def record(self, traces: TraceFolder) -> GpuRecording:
        """Begin a window."""
        return GpuRecording(
            [GpuReader(self._nvml, gpu) for gpu in self._gpus],
            self._search.refusal,
            self._search.notes,
            self._thresholds,
            self._clock,
            self._sample_hz,
            self._idle_watts,
            traces,
        )

    def processes(self) -> dict[int, str]:
        """UUID of the GPU by PID of every compute process.

        Raises:
            EnergyError: A GPU does not tell.
        """
        return gpu_processes(self._nvml, self._gpus)

    def states(self) -> tuple[GpuState, ...]:
        """Memory, temperature, power and utilisation of each GPU now."""
        return tuple(state_of(GpuReader(self._nvml, gpu)) for gpu in self._gpus)

    def hardware(self) -> dict[str, object]:
        """What a paper will ask for, ready for JSON."""
        return hardware_of(self._nvml, self._gpus)

    def close(self) -> None:
        """Shut NVML down; may be called twice."""
        if self._is_open:
            self._is_open = False
            ask(self._nvml, self._nvml.nvmlShutdown)


def _stands_at_zero(probed: Probed | None) -> bool:
    return probed is not None and probed.first == 0 and probed.last == 0


def _finding(gpu: Gpu, search: GpuSearch) -> Finding:
    probed = gpu.probed
    details: dict[str, object] = {
        "uuid": gpu.uuid,
        "name": gpu.name,
        "index": gpu.index,
        "power_source": gpu.power_source,
        "limit_watts": gpu.limit_watts,
        "update_period_seconds": probed.period_seconds if probed else None,
        "resolution_joules": probed.step_counts / 1e3 if probed and probed.step_counts else None,
    }
    if not gpu.has_counter and not gpu.has_power:
        reason = "its energy counter stands at 0, and it has no power reading"
        return Finding("gpu", gpu.uuid, "unavailable", reason, details=details)
    notes = list(search.notes)
    if search.refusal:
        notes.append(f"not added up, because of {search.refusal}")
    if not gpu.has_counter:
        notes.append("no energy counter: sampled power is integrated")
    elif probed and probed.step_counts is None:
        notes.append(f"its counter did not move in the probe of {probed.seconds:.1f} s")
    return Finding("gpu", gpu.uuid, "measured", "; ".join(notes), None, gpu.source, details)


__all__ = ["GpuSearch", "NvidiaGpus", "ReadingError", "load_nvml", "search_gpus"]
