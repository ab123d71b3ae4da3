"""CPU time of the whole machine, from /proc/stat."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_BUSY_COLUMNS = (0, 1, 2, 5, 6)
_BUSY_AND_IDLE_COLUMNS = (0, 1, 2, 3, 4, 5, 6, 7)


@dataclass(frozen=True)
class MachineCpu:
    """CPU time since boot, or between two moments, over all CPUs.

    Attributes:
        busy_seconds: Time in which a CPU ran something (user, nice, system, interrupts).
        capacity_seconds: All of their time, idle and stolen included.
        cpus: Number of CPUs.
    """

    busy_seconds: float
    capacity_seconds: float
    cpus: int

    def since(self, earlier: MachineCpu) -> MachineCpu:
        """What was added after `earlier`."""
        return MachineCpu(
            self.busy_seconds - earlier.busy_seconds,
            self.capacity_seconds - earlier.capacity_seconds,
            self.cpus,
        )


def machine_cpu(proc_root: Path) -> MachineCpu | None:
    """Read it now; None where /proc/stat cannot be read.

    Columns: proc(5), `/proc/stat`; guest time is part of user time there.
    """
    try:
        lines = (proc_root / "stat").read_text(encoding="ascii", errors="replace").splitlines()
        first, *others = (line.split() for line in lines if line.startswith("cpu"))
        ticks = [int(cell) for cell in first[1:9]]
    except (OSError, ValueError):
        return None
    if len(ticks) < len(_BUSY_AND_IDLE_COLUMNS):
        return None
    per_second = os.sysconf("SC_CLK_TCK")
    return MachineCpu(
        sum(ticks[column] for column in _BUSY_COLUMNS) / per_second,
        sum(ticks[column] for column in _BUSY_AND_IDLE_COLUMNS) / per_second,
        len(others),
    )
