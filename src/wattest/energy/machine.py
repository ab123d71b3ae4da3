"""Clocks and CPU time of the whole machine, and an estimate of energy where nothing is measured.

An estimate never stands in a measured field. Method and coefficients: Cloud Carbon Footprint,
"Methodology", energy estimate for compute: the power of a virtual CPU lies between `IDLE_WATTS` and
`FULL_WATTS` in proportion to its utilisation (mean of the published coefficients for AWS, which are
those of SPECpower).
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from wattest.files import read_text

IDLE_WATTS = 0.74
FULL_WATTS = 3.5
SOURCE = "https://www.cloudcarbonfootprint.org/docs/methodology/"
_NS = 1_000_000_000
_TOGETHER_NS = 1_000_000
_WITH_RAPL = {"GenuineIntel", "AuthenticAMD", "HygonGenuine"}
_X86 = {"x86_64", "i386", "i586", "i686", "amd64"}
# What /proc/cpuinfo holds that is not of this kernel's architecture.
_ELSEWHERE = {"CPU architecture: 8": "aarch64", "CPU implementer": "arm", "isa\t": "riscv",
              "POWER": "ppc"}  # fmt: skip
_TRIES = 5


@dataclass(frozen=True)
class Clocks:
    """The clocks at one moment, nanoseconds; `boot_ns` goes on while the machine sleeps."""

    monotonic_ns: int
    boot_ns: int
    wall_ns: int

    def slept_seconds(self, earlier: Clocks) -> float:
        """For how long the machine slept after `earlier`."""
        awake_ns = self.monotonic_ns - earlier.monotonic_ns
        return (self.boot_ns - earlier.boot_ns - awake_ns) / _NS

    def stepped_seconds(self, earlier: Clocks) -> float:
        """By how much the wall clock was set forward (or back, if negative) after `earlier`."""
        return (self.wall_ns - earlier.wall_ns - (self.boot_ns - earlier.boot_ns)) / _NS

    def utc(self, at_ns: int) -> str:
        """The wall clock at a monotonic time near this moment, ISO 8601 in UTC."""
        wall_ns = self.wall_ns + at_ns - self.monotonic_ns
        moment = datetime.fromtimestamp(wall_ns / _NS, timezone.utc)
        return moment.isoformat(timespec="milliseconds")


def read_clocks() -> Clocks:
    """Read them together: again if somebody else was given the CPU meanwhile."""
    found: list[tuple[int, Clocks]] = []
    for _ in range(_TRIES):
        monotonic_ns = time.monotonic_ns()
        boot_ns, wall_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns()
        found.append((time.monotonic_ns() - monotonic_ns, Clocks(monotonic_ns, boot_ns, wall_ns)))
        if found[-1][0] < _TOGETHER_NS:
            break
    return min(found, key=lambda one: one[0])[1]


@dataclass(frozen=True)
class MachineCpu:
    """CPU time since boot, or between two moments, over all CPUs.

    Attributes:
        busy_seconds: Time in which a CPU ran something (user, nice, system, interrupts).
        capacity_seconds: All of their time, idle and stolen included.
        stolen_seconds: Time that a hypervisor gave to others.
    """

    busy_seconds: float
    capacity_seconds: float
    stolen_seconds: float = 0.0

    def since(self, earlier: MachineCpu) -> MachineCpu:
        """What was added after `earlier`."""
        return MachineCpu(
            self.busy_seconds - earlier.busy_seconds,
            self.capacity_seconds - earlier.capacity_seconds,
            self.stolen_seconds - earlier.stolen_seconds,
        )


def architecture_without_rapl(cpuinfo: str) -> str | None:
    """The architecture by /proc/cpuinfo, if that names another maker than those that have RAPL."""
    vendors = set(re.findall(r"^vendor_id\s*: *(\S+)", cpuinfo, re.MULTILINE))
    machine = platform.machine()
    if vendors & _WITH_RAPL:
        return None
    if vendors or machine not in _X86:
        return next(iter(vendors), machine)
    return next((name for word, name in _ELSEWHERE.items() if word in cpuinfo), None)


def in_container(proc_root: Path = Path("/proc")) -> bool:
    """Whether this runs in a container, as far as one shows."""
    root = proc_root.parent
    if (root / ".dockerenv").exists() or (root / "run" / ".containerenv").exists():
        return True
    control_groups = read_text(proc_root / "1" / "cgroup") or ""
    return any(word in control_groups for word in ("docker", "kubepods", "containerd", "lxc"))


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
    ticks = busy, busy + idle + waiting + stolen, stolen
    return MachineCpu(*(count / per_second for count in ticks))


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
