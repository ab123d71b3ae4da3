"""One GPU: what the start of a session found of it, and asking it in few calls."""

from __future__ import annotations

from dataclasses import dataclass

from wattest.energy.gpu.nvml import (
    FIELD_POWER_AVERAGE,
    FIELD_POWER_INSTANT,
    Handle,
    Nvml,
    ask,
    field_number,
)
from wattest.energy.probe import Probed
from wattest.energy.types import ReadingError

_POWER_FIELDS = {
    FIELD_POWER_INSTANT: "field 186 (POWER_INSTANT)",
    FIELD_POWER_AVERAGE: "field 185 (POWER_AVERAGE)",
}
_MEGA = 1e6
_BOARD = 0  # NVML_POWER_SCOPE_GPU: not the module, which on Grace-Hopper contains the CPU


@dataclass(frozen=True)
class Gpu:
    """One visible GPU, with what the start of the session found of it.

    Attributes:
        handle: NVML's handle.
        index: Its index in NVML, the order of the PCI bus.
        uuid: `GPU-…`.
        name: Its marketing name.
        has_counter: Whether it has an energy counter that can be believed.
        power_fields: Fields that give its power, the preferred one first; empty if only
            `nvmlDeviceGetPowerUsage` does.
        has_power: Whether it gives its power at all.
        limit_watts: Its enforced power limit; None if unknown.
        probed: What the probe saw of its counter; None before.
    """

    handle: Handle
    index: int
    uuid: str
    name: str
    has_counter: bool
    power_fields: tuple[int, ...]
    has_power: bool
    limit_watts: float | None
    probed: Probed | None = None

    @property
    def source(self) -> str:
        """Where its energy comes from."""
        return "nvml-counter" if self.has_counter else "nvml-power-integral"

    @property
    def averages_power(self) -> bool:
        """Whether its power reading may be a running average, which lags behind."""
        return self.power_fields[:1] != (FIELD_POWER_INSTANT,)

    @property
    def power_source(self) -> str | None:
        """Which reading its power comes from; None if there is none."""
        if self.power_fields:
            return _POWER_FIELDS[self.power_fields[0]]
        return "nvmlDeviceGetPowerUsage" if self.has_power else None


@dataclass(frozen=True)
class Vitals:
    """What is read once a second; None where the GPU does not tell."""

    temperature_celsius: float | None
    utilization_percent: float | None
    memory_utilization_percent: float | None
    sm_clock_mhz: float | None
    memory_clock_mhz: float | None
    memory_used_mb: float | None
    memory_free_mb: float | None
    memory_total_mb: float | None


class GpuReader:
    """Asks one GPU, without looking anything up in the sampling loop.

    Args:
        nvml: The module, initialised.
        gpu: The GPU.
    """

    __slots__ = ("_energy", "_error", "_fields", "_nvml", "_power", "_read_fields", "gpu")

    def __init__(self, nvml: Nvml, gpu: Gpu) -> None:
        self.gpu = gpu
        self._nvml = nvml
        self._error = nvml.NVMLError
        self._energy = nvml.nvmlDeviceGetTotalEnergyConsumption
        self._power = nvml.nvmlDeviceGetPowerUsage
        self._read_fields = nvml.nvmlDeviceGetFieldValues
        self._fields = [(field, _BOARD) for field in gpu.power_fields]

    def millijoules(self) -> int:
        """Its energy counter.

        Raises:
            ReadingError: It did not answer.
        """
        try:
            return self._energy(self.gpu.handle)
        except self._error as error:
            raise self._lost(error) from error

    def watts(self) -> tuple[float, float | None]:
        """Its power by the preferred reading, and by the second one if it has two.

        Raises:
            ReadingError: The preferred reading did not answer.
        """
        try:
            if not self._fields:
                return self._power(self.gpu.handle) / 1e3, None
            answers = self._read_fields(self.gpu.handle, self._fields)
        except self._error as error:
            raise self._lost(error) from error
        first = field_number(answers[0])
        if first is None:
            text = f"NVML: field {self._fields[0][0]} answered error {answers[0].nvmlReturn}"
            raise ReadingError("source_lost", text)
        second = field_number(answers[1]) if len(self._fields) > 1 else None
        return first / 1e3, None if second is None else second / 1e3

    def vitals(self) -> Vitals:
        """Temperature, utilisation, clocks and memory."""
        nvml, handle = self._nvml, self.gpu.handle
        temperature = ask(nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
        newer = getattr(nvml, "nvmlDeviceGetTemperatureV", None)
        if temperature is None and newer is not None:
            temperature = ask(nvml, newer, handle, nvml.NVML_TEMPERATURE_GPU)
        rates = ask(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = ask(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
        return Vitals(
            temperature_celsius=temperature,
            utilization_percent=rates.gpu if rates else None,
            memory_utilization_percent=rates.memory if rates else None,
            sm_clock_mhz=ask(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
            memory_clock_mhz=ask(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
            memory_used_mb=memory.used / _MEGA if memory else None,
            memory_free_mb=memory.free / _MEGA if memory else None,
            memory_total_mb=memory.total / _MEGA if memory else None,
        )

    def fields(self, numbers: tuple[int, ...]) -> dict[int, float | None]:
        """Several fields by number; None for those that are not answered."""
        answers = ask(self._nvml, self._read_fields, self.gpu.handle, [(one, 0) for one in numbers])
        if answers is None:
            return dict.fromkeys(numbers)
        return {number: field_number(one) for number, one in zip(numbers, answers, strict=True)}

    def _lost(self, error: Exception) -> ReadingError:
        return ReadingError("source_lost", f"NVML: {error}")
