"""The pause between experiments: by the state of the machine, not by the clock alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wattest.energy import GpuState, machine_cpu

# Near idle: within these of the session's idle values, held for so long.
TEMPERATURE_MARGIN_CELSIUS = 5.0
POWER_MARGIN_SHARE = 0.1
CPU_LOAD_MARGIN = 0.05
HOLD_SECONDS = 10.0
# How long the idle machine is watched where nothing else has measured it: a load is a share of
# time, and the kernel counts CPU time in steps of 10 ms.
REFERENCE_SECONDS = 1.5
_PERIOD_SECONDS = 1.0


@dataclass(frozen=True)
class MachineState:
    """One look at the machine: busy share of all CPUs (0 to 1), and per GPU by UUID."""

    cpu_busy_share: float
    gpu_temperature_celsius: Mapping[str, float] = field(default_factory=dict)
    gpu_power_watts: Mapping[str, float] = field(default_factory=dict)

    def excess_over(self, idle: MachineState) -> list[str]:
        """Return what is not yet near the idle state, in words."""
        found = []
        if self.cpu_busy_share > idle.cpu_busy_share + CPU_LOAD_MARGIN:
            found.append(f"CPU load {self.cpu_busy_share:.0%} (idle {idle.cpu_busy_share:.0%})")
        for uuid, celsius in self.gpu_temperature_celsius.items():
            reference = idle.gpu_temperature_celsius.get(uuid, celsius)
            if celsius > reference + TEMPERATURE_MARGIN_CELSIUS:
                found.append(f"GPU {uuid} at {celsius:.0f} C (idle {reference:.0f} C)")
        for uuid, watts in self.gpu_power_watts.items():
            reference = idle.gpu_power_watts.get(uuid, watts)
            if watts > reference * (1 + POWER_MARGIN_SHARE):
                found.append(f"GPU {uuid} at {watts:.0f} W (idle {reference:.0f} W)")
        return found


class Watcher:
    """Looks at the machine: CPU load since the last look, GPU temperature and power now."""

    def __init__(
        self, gpu_state: Callable[[], Sequence[GpuState]], proc_root: Path = Path("/proc")
    ) -> None:
        self._gpu_state = gpu_state
        self._proc_root = proc_root
        self._before = machine_cpu(proc_root)

    def watch(self, seconds: float) -> MachineState:
        """Return the state after so many seconds; the CPU load is that of just this time."""
        self._before = machine_cpu(self._proc_root)
        time.sleep(seconds)
        return self.look()

    def look(self) -> MachineState:
        """Return the state now; the CPU load is that since the look before."""
        now = machine_cpu(self._proc_root)
        spent = now.since(self._before) if now and self._before else None
        self._before = now
        gpus = self._gpu_state()
        return MachineState(
            spent.busy_seconds / spent.capacity_seconds
            if spent and spent.capacity_seconds > 0
            else 0.0,
            {g.uuid: g.temperature_celsius for g in gpus if g.temperature_celsius is not None},
            {g.uuid: g.power_watts for g in gpus if g.power_watts is not None},
        )


def cool_down(
    watcher: Watcher,
    idle: MachineState,
    least_seconds: float,
    limit_seconds: float,
    hold_seconds: float = HOLD_SECONDS,
) -> dict[str, Any]:
    """Wait until the machine has been near idle for a while; return the wait and its outcome.

    Waits at least `least_seconds` and at most `limit_seconds`.
    """
    began = time.monotonic()
    near_since: float | None = None
    excess: list[str] = []
    watcher.look()
    while True:
        time.sleep(_PERIOD_SECONDS)
        now = time.monotonic()
        excess = watcher.look().excess_over(idle)
        near_since = None if excess else (near_since or now)
        waited = now - began
        held = near_since is not None and now - near_since >= hold_seconds
        if waited >= limit_seconds or (held and waited >= least_seconds):
            return {
                "waited_seconds": waited,
                "reached_idle": held,
                "excess": excess,
                "least_seconds": least_seconds,
                "limit_seconds": limit_seconds,
                "hold_seconds": hold_seconds,
            }
