"""GPUs outside of windows: their state now, the processes on them, and what they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wattest.energy.gpu.board import Gpu, GpuReader, Vitals
from wattest.energy.gpu.nvml import Handle, Nvml, ask
from wattest.energy.types import ReadingError
from wattest.errors import EnergyError

_COMPUTE_MODES = {0: "default", 1: "exclusive thread", 2: "prohibited", 3: "exclusive process"}


@dataclass(frozen=True)
class GpuState:
    """One GPU at one moment; None where it does not tell.

    Attributes:
        uuid: `GPU-…`.
        index: Its index in NVML.
        name: Its marketing name.
        power_watts: Its power.
        limit_watts: Its enforced power limit.
        temperature_celsius: Temperature of the chip.
        utilization_percent: Share of the last sampling period in which a kernel ran.
        memory_free_mb: Free memory in megabytes (10⁶ bytes).
        memory_used_mb: Used memory, likewise.
        memory_total_mb: All its memory, likewise.
    """

    uuid: str
    index: int
    name: str
    power_watts: float | None
    limit_watts: float | None
    temperature_celsius: float | None
    utilization_percent: float | None
    memory_free_mb: float | None
    memory_used_mb: float | None
    memory_total_mb: float | None


def state_of(reader: GpuReader) -> GpuState:
    """Read the state of one GPU."""
    gpu, vitals = reader.gpu, reader.vitals()
    return GpuState(
        uuid=gpu.uuid,
        index=gpu.index,
        name=gpu.name,
        power_watts=_watts(reader),
        limit_watts=gpu.limit_watts,
        temperature_celsius=vitals.temperature_celsius,
        utilization_percent=vitals.utilization_percent,
        memory_free_mb=vitals.memory_free_mb,
        memory_used_mb=vitals.memory_used_mb,
        memory_total_mb=vitals.memory_total_mb,
    )


def _watts(reader: GpuReader) -> float | None:
    if not reader.gpu.has_power:
        return None
    try:
        return reader.watts()[0]
    except ReadingError:
        return None


def gpu_processes(nvml: Nvml, gpus: Sequence[Gpu]) -> dict[int, str]:
    """UUID of the GPU by PID of every compute process; a PID on several GPUs appears once.

    Raises:
        EnergyError: A GPU does not tell.
    """
    found: dict[int, str] = {}
    for gpu in gpus:
        try:
            processes = nvml.nvmlDeviceGetComputeRunningProcesses(gpu.handle)
        except nvml.NVMLError as error:
            raise EnergyError(f"{gpu.uuid}: does not tell its processes: {error}") from error
        found.update({process.pid: gpu.uuid for process in processes})
    return found


def hardware_of(nvml: Nvml, gpus: Sequence[Gpu]) -> dict[str, object]:
    """What a paper will ask for of the GPUs, ready for JSON; None where they do not tell."""
    cuda = ask(nvml, nvml.nvmlSystemGetCudaDriverVersion)
    return {
        "driver_version": ask(nvml, nvml.nvmlSystemGetDriverVersion),
        "nvml_version": ask(nvml, nvml.nvmlSystemGetNVMLVersion),
        "cuda_driver_version": f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
        "gpus": [_hardware_of_one(nvml, gpu) for gpu in gpus],
    }


def _hardware_of_one(nvml: Nvml, gpu: Gpu) -> dict[str, object]:
    handle = gpu.handle
    persistence = ask(nvml, nvml.nvmlDeviceGetPersistenceMode, handle)
    compute = ask(nvml, nvml.nvmlDeviceGetComputeMode, handle)
    mig = ask(nvml, nvml.nvmlDeviceGetMigMode, handle)
    default_limit = ask(nvml, nvml.nvmlDeviceGetPowerManagementDefaultLimit, handle)
    vitals: Vitals = GpuReader(nvml, gpu).vitals()
    return {
        "name": gpu.name,
        "uuid": gpu.uuid,
        "index": gpu.index,
        "vbios": ask(nvml, nvml.nvmlDeviceGetVbiosVersion, handle),
        "power_limit_watts": gpu.limit_watts,
        "power_limit_default_watts": default_limit / 1e3 if default_limit else None,
        "sm_clock_mhz": vitals.sm_clock_mhz,
        "memory_clock_mhz": vitals.memory_clock_mhz,
        "sm_clock_max_mhz": _clock(nvml, handle, nvml.NVML_CLOCK_SM),
        "memory_clock_max_mhz": _clock(nvml, handle, nvml.NVML_CLOCK_MEM),
        "memory_total_mb": vitals.memory_total_mb,
        "persistence_mode": None if persistence is None else bool(persistence),
        "compute_mode": None if compute is None else _COMPUTE_MODES.get(compute, str(compute)),
        "mig_mode": None if mig is None else bool(mig[0]),
        "power_source": gpu.power_source,
        "has_energy_counter": gpu.has_counter,
    }


def _clock(nvml: Nvml, handle: Handle, kind: int) -> int | None:
    read: Callable[[Handle, int], int] = nvml.nvmlDeviceGetMaxClockInfo
    return ask(nvml, read, handle, kind)
