"""What one window gave: a frozen `Measurement`, and the glance at it while it is still open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from wattest.energy.machine import MachineCpu
from wattest.energy.types import DomainResult, Reason

DOMAINS = ("cpu_pkg", "cpu_ram", "gpu")

METRICS = (
    "cpu_energy_pkg_joules",
    "cpu_energy_ram_joules",
    "cpu_energy_total_joules",
    "gpu_power_avg_watts",
    "gpu_power_max_watts",
    "gpu_power_min_watts",
    "gpu_energy_total_joules",
    "gpu_temp_avg_celsius",
    "gpu_temp_max_celsius",
    "gpu_util_avg_percent",
    "gpu_util_max_percent",
)
"""The keys of a record's energy metrics, in their order."""


@dataclass(frozen=True)
class Snapshot:
    """A window that is still open, for a progress line; None where a value is not known.

    CPU and GPUs each together: the power of the last interval, the energy since the opening edge;
    the temperature is that of the hottest GPU, the utilisation a mean.
    """

    elapsed_seconds: float
    cpu_watts: float | None = None
    cpu_joules: float | None = None
    gpu_watts: float | None = None
    gpu_joules: float | None = None
    gpu_temperature_celsius: float | None = None
    gpu_utilization_percent: float | None = None


@dataclass(frozen=True)
class Measurement:
    """The energy of one window, with everything that speaks for it and against it.

    Attributes:
        opened_ns: The opening edge on the monotonic clock; `closed_ns` is the closing edge.
        duration_seconds: From the opening edge to the end of what was measured.
        results: One per domain of `DOMAINS`.
        meter_cost: What measuring itself cost, and how well the sampling times were kept.
        machine_cpu: CPU time of the whole machine within the window; None if unknown.
        clocks: What the other clocks said at the edges, as a record has it.
    """

    opened_ns: int
    closed_ns: int
    duration_seconds: float
    results: tuple[DomainResult, ...]
    faults: tuple[Reason, ...]
    flags: tuple[Reason, ...]
    meter_cost: Mapping[str, object]
    machine_cpu: MachineCpu | None = None
    clocks: Mapping[str, object] = field(default_factory=dict)

    def shared(self, reason: str) -> Measurement:
        """The same, the CPU's numbers being shared with other trainings, for this reason."""
        results = (one.shared(reason) if one.domain != "gpu" else one for one in self.results)
        return replace(self, results=tuple(results))

    def energy_metrics(self) -> dict[str, float | None]:
        """The metrics of `METRICS`; None is unknown, and 0 is never put in its place."""
        domains = {result.domain: result for result in self.results}
        values: dict[str, float | None] = dict.fromkeys(METRICS)
        for result in self.results:
            values.update(result.metrics)
        package, memory = domains["cpu_pkg"], domains["cpu_ram"]
        return values | {
            "cpu_energy_pkg_joules": package.energy_joules,
            "cpu_energy_ram_joules": memory.energy_joules,
            "cpu_energy_total_joules": _total(package, memory),
            "gpu_energy_total_joules": domains["gpu"].energy_joules,
        }

    def provenance(self) -> dict[str, object]:
        """Where every number comes from, ready for JSON."""
        return {
            "domains": {result.domain: result.provenance() for result in self.results},
            "window": {
                "duration_seconds": self.duration_seconds,
                "clock": "CLOCK_MONOTONIC",
                "opened_ns": self.opened_ns,
                "closed_ns": self.closed_ns,
                **self.clocks,
            },
            "faults": [asdict(fault) for fault in self.faults],
            "flags": [asdict(flag) for flag in self.flags],
        }


def _total(package: DomainResult, memory: DomainResult) -> float | None:
    """Packages and DRAM; packages alone where the machine has no DRAM domain."""
    if package.energy_joules is None or memory.status == "invalid":
        return None
    return package.energy_joules + (memory.energy_joules or 0.0)
