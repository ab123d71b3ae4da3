"""One GPU: what the search found of it, and asking it in few calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wattest.energy.counter import Counter
from wattest.energy.gpu.nvml import CLOCK_MEMORY, CLOCK_SM, TEMPERATURE_GPU, Nvml
from wattest.energy.types import ReadingError

_MEGA = 1e6
_COMPUTE_MODES = {0: "default", 1: "exclusive thread", 2: "prohibited", 3: "exclusive process"}


def read_limit(nvml: Nvml, handle: object) -> float | None:
    """The enforced power limit of a GPU in watts, now; None if it does not tell."""
    limit = nvml.ask("DeviceGetEnforcedPowerLimit", handle)
    return limit / 1e3 if limit else None


@dataclass(frozen=True)
class GpuState:
    """One GPU at one moment; None where it does not tell.

    A megabyte is 10⁶ bytes, `limit_watts` the enforced power limit; the utilisations are shares of
    the last sampling period in which a kernel ran, and in which memory was read or written.
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
    memory_utilization_percent: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None


@dataclass(frozen=True)
class Gpu:
    """One visible GPU.

    Attributes:
        limit_watts: Its enforced power limit when it was found; None if unknown.
        counter: Its energy counter; None if it has none that can be believed.
        read_power: Reads its power in watts by the preferred reading, and by the second one if
            there are two; raises `ReadingError`. None if it does not give its power at all.
        power_source: Which reading the preferred one is; None if there is none.
        has_fields: Whether that is a field of the board's scope.
        averages_power: Whether that may be a running average, which lags behind.
        is_superchip: Whether it shares its module with a CPU.
    """

    nvml: Nvml
    handle: object
    index: int
    uuid: str
    name: str
    limit_watts: float | None
    counter: Counter | None
    read_power: Callable[[], tuple[float, float | None]] | None
    power_source: str | None
    has_fields: bool
    averages_power: bool
    is_superchip: bool

    @property
    def pci_bus_id(self) -> str | None:
        """Where it sits, such as `00000000:3B:00.0`; None if it does not tell."""
        return pci_bus_id(self.nvml, self.handle)

    @property
    def source(self) -> str:
        """Where its energy comes from."""
        return "nvml-counter" if self.counter else "nvml-power-integral"

    def watts(self) -> float | None:
        """Its power now; None if it does not tell."""
        try:
            return self.read_power()[0] if self.read_power else None
        except ReadingError:
            return None

    def state(self, power_watts: float | None) -> GpuState:
        """Its state now, with its power as it is known."""
        ask, handle = self.nvml.ask, self.handle
        temperature = ask("DeviceGetTemperature", handle, TEMPERATURE_GPU)
        if temperature is None:
            temperature = ask("DeviceGetTemperatureV", handle, TEMPERATURE_GPU)
        members = self.nvml.ask_members
        share, memory_share = members("DeviceGetUtilizationRates", handle, "gpu", "memory")
        memory = members("DeviceGetMemoryInfo", handle, "free", "used", "total")
        free_mb, used_mb, total_mb = (None if one is None else one / _MEGA for one in memory)
        return GpuState(
            uuid=self.uuid,
            index=self.index,
            name=self.name,
            power_watts=power_watts,
            limit_watts=read_limit(self.nvml, handle),
            temperature_celsius=temperature,
            utilization_percent=share,
            memory_free_mb=free_mb,
            memory_used_mb=used_mb,
            memory_total_mb=total_mb,
            memory_utilization_percent=memory_share,
            sm_clock_mhz=ask("DeviceGetClockInfo", handle, CLOCK_SM),
            memory_clock_mhz=ask("DeviceGetClockInfo", handle, CLOCK_MEMORY),
        )

    def hardware(self) -> dict[str, object]:
        """What a paper will ask for, ready for JSON; None where it does not tell."""
        ask, handle, state = self.nvml.ask, self.handle, self.state(None)
        persistence = ask("DeviceGetPersistenceMode", handle)
        compute = ask("DeviceGetComputeMode", handle)
        mig = ask("DeviceGetMigMode", handle)
        default_limit = ask("DeviceGetPowerManagementDefaultLimit", handle)
        return {
            "name": self.name,
            "uuid": self.uuid,
            "index": self.index,
            "pci_bus_id": self.pci_bus_id,
            "vbios": ask("DeviceGetVbiosVersion", handle),
            "power_limit_watts": state.limit_watts,
            "power_limit_default_watts": default_limit / 1e3 if default_limit else None,
            "sm_clock_mhz": state.sm_clock_mhz,
            "memory_clock_mhz": state.memory_clock_mhz,
            "sm_clock_max_mhz": ask("DeviceGetMaxClockInfo", handle, CLOCK_SM),
            "memory_clock_max_mhz": ask("DeviceGetMaxClockInfo", handle, CLOCK_MEMORY),
            "memory_total_mb": state.memory_total_mb,
            "persistence_mode": None if persistence is None else bool(persistence),
            "compute_mode": None if compute is None else _COMPUTE_MODES.get(compute, str(compute)),
            "mig_mode": bool(mig[0]) if mig else None,
            "power_source": self.power_source,
            "has_energy_counter": self.counter is not None,
        }


def pci_bus_id(nvml: Nvml, handle: object) -> str | None:
    """Where a GPU sits, such as `00000000:3B:00.0`; None if it does not tell."""
    found = nvml.ask("DeviceGetPciInfo", handle)
    try:
        bus = getattr(found, "busId", None)
    except UnicodeDecodeError as error:
        bus = error.object
    bus = bus.decode("ascii", "replace") if isinstance(bus, bytes) else bus
    return bus if isinstance(bus, str) and bus else None
