"""What of a machine a session measures, where it is not all of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from wattest.energy.cpu.search import CpuSearch, CpuSensors
from wattest.energy.types import Finding

CPU_LEFT_OUT = "left out by --cpu-energy off"


@dataclass(frozen=True)
class MachinePart:
    """The part of a machine that a session has for itself.

    Attributes:
        cpus: Numbers of the CPUs whose load it looks at; None for all.
        package: Id of the only powercap zone that it reads, such as `intel-rapl:0`, with the zones
            in it; None for all.
        has_cpu_energy: Whether the CPU's energy is to be measured at all.
        shares_cpu: Whether others may train at any time that the same counters count.
    """

    cpus: frozenset[int] | None = None
    package: str | None = None
    has_cpu_energy: bool = True
    shares_cpu: bool = False

    @property
    def estimate_cpus(self) -> int | None:
        """For how many CPUs their energy may be estimated; None where it is left out on purpose."""
        if not self.has_cpu_energy:
            return None
        return len(self.cpus) if self.cpus else os.cpu_count() or 1


def find_cpu(sys_root: Path, proc_root: Path, part: MachinePart) -> CpuSensors:
    """Look for the CPU's counters of a part of the machine."""
    if not part.has_cpu_energy:
        return CpuSensors(absences=[Finding("cpu", "cpu", "unavailable", CPU_LEFT_OUT)])
    found = CpuSearch(sys_root, proc_root).find()
    package = part.package
    if package is not None:
        found.unseen = tuple
        found.counters = [
            one
            for one in found.counters
            if one.zone == package or one.zone.startswith(f"{package}:")
        ]
    return found


def cpu_findings(sys_root: Path, proc_root: Path = Path("/proc")) -> list[Finding]:
    """Return the findings of the CPU alone, without watching what was found."""
    found = CpuSearch(sys_root, proc_root).find()
    found.closing.close()
    return list(found.findings())
