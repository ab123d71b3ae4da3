"""CPU time of the whole machine, and an estimate of energy from it where nothing can be measured.

An estimate never stands in a measured field. Method and coefficients: Cloud Carbon Footprint,
"Methodology", energy estimate for compute: the power of a virtual CPU lies between `IDLE_WATTS` and
`FULL_WATTS` in proportion to its utilisation (mean of the published coefficients for AWS, which are
those of SPECpower).
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

IDLE_WATTS = 0.74
FULL_WATTS = 3.5
SOURCE = "https://www.cloudcarbonfootprint.org/docs/methodology/"


@dataclass(frozen=True)
class MachineCpu:
    """CPU time since boot, or between two moments, over all CPUs.

    Attributes:
        busy_seconds: Time in which a CPU ran something (user, nice, system, interrupts).
        capacity_seconds: All of their time, idle and stolen included.
    """

    busy_seconds: float
    capacity_seconds: float

    def since(self, earlier: MachineCpu) -> MachineCpu:
        """What was added after `earlier`."""
        return MachineCpu(
            self.busy_seconds - earlier.busy_seconds,
            self.capacity_seconds - earlier.capacity_seconds,
        )


def machine_cpu(proc_root: Path, cpus: Collection[int] | None = None) -> MachineCpu | None:
    """Read it now, of all CPUs or of these alone; None where /proc/stat cannot be read.

    Columns: proc(5), `/proc/stat`; guest time is part of user time there.
    """
    try:
        text = (proc_root / "stat").read_text(encoding="ascii", errors="replace")
        wanted = {"cpu"} if cpus is None else {f"cpu{number}" for number in cpus}
        lines = [line.split() for line in text.splitlines() if line.split(" ", 1)[0] in wanted]
        rows = [[int(cell) for cell in cells[1:9]] for cells in lines]
        user, nice, system, idle, waiting, irq, softirq, stolen = map(sum, zip(*rows, strict=True))
    except (OSError, ValueError):
        return None
    per_second = os.sysconf("SC_CLK_TCK")
    busy = user + nice + system + irq + softirq
    return MachineCpu(busy / per_second, (busy + idle + waiting + stolen) / per_second)


def estimate(
    duration_seconds: float,
    cpus: int,
    machine_cpu_seconds: float | None,
    training_cpu_seconds: float | None,
) -> dict[str, object]:
    """Estimate the CPU's energy in one window on `cpus` virtual CPUs, ready for JSON.

    Returns:
        `machine_joules` (idle share of all CPUs and the load on them) and `training_joules` (only
        what the training's CPU time adds to idle), each None if its CPU time is unknown, with
        method, coefficients and source. To be shown with a `~`.
    """
    machine, training = (
        None if seconds is None else seconds * (FULL_WATTS - IDLE_WATTS)
        for seconds in (machine_cpu_seconds, training_cpu_seconds)
    )
    idle_joules = cpus * duration_seconds * IDLE_WATTS
    return {
        "is_estimate": True,
        "method": "CPU time between idle and full power of a virtual CPU",
        "source": SOURCE,
        "idle_watts_per_cpu": IDLE_WATTS,
        "full_watts_per_cpu": FULL_WATTS,
        "cpus": cpus,
        "machine_cpu_seconds": machine_cpu_seconds,
        "training_cpu_seconds": training_cpu_seconds,
        "machine_joules": None if machine is None else idle_joules + machine,
        "training_joules": training,
    }
