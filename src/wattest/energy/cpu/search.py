"""How the CPU's energy can be read here: powercap, else perf events, else not, and why."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from wattest.energy.counter import Counter
from wattest.energy.cpu.perf import power_unit, search_perf
from wattest.energy.cpu.powercap import classify, search_powercap
from wattest.energy.cpu.zones import Zone, ZoneError, find_zones
from wattest.energy.machine import architecture_without_rapl, in_container
from wattest.energy.types import Finding, ReadingError
from wattest.files import read_text

_ACCEPT = "or accept it with --allow-missing cpu"
_UDEV_RULE = (
    'SUBSYSTEM=="powercap", ACTION=="add", '
    "RUN+=\"/bin/sh -c 'chgrp energy /sys%p/energy_uj; chmod g+r /sys%p/energy_uj'\""
)


@dataclass
class CpuSensors:
    """The CPU's counters that are read, if any are.

    Attributes:
        source: `powercap` or `perf`.
        rejected: Zones that are not added up, with reasons.
        absences: What is not read, and why.
        unseen: Finds packages and DRAM that were not there when the others were looked for.
        closing: Closes what they are read by.
    """

    source: str = ""
    counters: Sequence[Counter] = ()
    rejected: Sequence[Zone] = ()
    absences: Sequence[Finding] = ()
    unseen: Callable[[], Sequence[Zone]] = tuple
    closing: ExitStack = field(default_factory=ExitStack)

    def learn(self) -> None:
        """Take what the probe has shown: DRAM that stands at 0 is promised to nobody."""
        self.counters = [
            replace(one, is_wired=one.domain != "cpu_ram" or not one.stands_at_zero)
            for one in self.counters
        ]

    def findings(self) -> tuple[Finding, ...]:
        """Every sensor of the CPU, measured or not."""
        known = {finding.name for finding in self.absences}
        return (
            *self.absences,
            *map(self._finding, self.counters),
            *(
                Finding("cpu", zone.label, "rejected", zone.reason, details={"zone": zone.id})
                for zone in self.rejected
                if zone.label not in known
            ),
        )

    def _finding(self, counter: Counter) -> Finding:
        unit, top = counter.joules_per_count, counter.max_range
        details: dict[str, object] = {
            "zone": counter.zone,
            "path": counter.path,
            "max_range_joules": None if top is None else top * unit,
            "limit_watts": counter.limit_watts,
            "update_period_seconds": counter.period_seconds,
            "resolution_joules": counter.resolution_joules,
        }
        if not counter.is_wired:
            reason = "not wired: its counter stands at 0 and does not move"
            return Finding("cpu", counter.label, "rejected", reason, details=details)
        notes = [counter.probe_note]
        if counter.wraps and top is None:
            notes.append("max_energy_range_uj is unreadable, so a wrap cannot be followed")
        reason = "; ".join(filter(None, notes))
        return Finding("cpu", counter.label, "measured", reason, None, self.source, details)


class CpuSearch:
    """Looks for the CPU's counters below the roots of /sys and /proc."""

    def __init__(self, sys_root: Path, proc_root: Path) -> None:
        self._sys_root = sys_root
        self._proc_root = proc_root
        zones, self._counters, self._problems = search_powercap(sys_root)
        self._zones = [zone for zone in zones if zone.domain]
        self._rejected = [zone for zone in zones if not zone.domain]

    def find(self) -> CpuSensors:
        """What can be read, by the better way; else what stands against either."""
        unreadable = [self._unreadable(zone, zone.fault) for zone in self._zones if zone.fault]
        if self._counters and not unreadable:
            return CpuSensors("powercap", self._counters, self._rejected, unseen=self._unseen)
        reason, remedy = self._why_no_zones()
        try:
            counters, rejected, closing = search_perf(self._sys_root, self._zones)
        except ReadingError as error:
            if unreadable:
                return self._readable_part(unreadable)
            if error.gate == "permission_lost":
                return CpuSensors(absences=[self._forbidden(error)])
            if power_unit(self._sys_root).exists():
                reason = f"{reason}; perf events: {error}"
            absence = Finding("cpu", "cpu", "unavailable", reason, remedy)
            return CpuSensors(rejected=self._rejected, absences=[absence])
        absences = [replace(finding, status="unavailable") for finding in unreadable]
        absences = absences or [Finding("cpu", "cpu", "unavailable", reason, remedy)]
        return CpuSensors("perf", counters, rejected, absences, closing=closing)

    def _unseen(self) -> list[Zone]:
        known = {zone.id for zone in (*self._zones, *self._rejected)}
        zones, _ = find_zones(self._sys_root)
        return [zone for zone in classify(zones) if zone.domain and zone.id not in known]

    def _unreadable(self, zone: Zone, fault: ReadingError) -> Finding:
        """That a zone should be added up and cannot be read."""
        reason, remedy = str(fault), self._remedy(fault)
        line = f"cpu {zone.label}: exists but cannot be read: {reason}. Remedy: {remedy}"
        return Finding("cpu", zone.label, "unreadable", reason, remedy, refusal=line)

    def _readable_part(self, unreadable: list[Finding]) -> CpuSensors:
        """What can be read where zones exist that cannot: the domains that lack none of them."""
        faulty = [zone for zone in self._zones if zone.fault is not None]
        lost = {zone.domain for zone in faulty}
        if any(isinstance(one.fault, ZoneError) and one.fault.hides_parts for one in faulty):
            lost.add("cpu_ram")
        counters = [counter for counter in self._counters if counter.domain not in lost]
        if not counters:
            return CpuSensors(absences=unreadable)
        left_out = [zone for zone in self._zones if zone.domain in lost]
        why = "; ".join(f"{one.name}: {one.reason}" for one in unreadable)
        findings = [
            Finding("cpu", zone.label, "rejected", f"is left out of the sum: {why}")
            for zone in left_out
            if zone.fault is None
        ]
        why = "; ".join(f"{one.name}: {one.statement}" for one in unreadable)
        rejected = [replace(one, reason=f"is left out of the sum: {why}") for one in left_out]
        absences = [*unreadable, *findings]
        return CpuSensors("powercap", counters, [*self._rejected, *rejected], absences)

    def _forbidden(self, error: ReadingError) -> Finding:
        """That the kernel counts energy, and does not let us."""
        reason, remedy = f"perf counts no energy: {error}", f"run under sudo; or {self._by_perf()}"
        line = f"cpu: perf may not count energy: {reason}. Remedy: {remedy}; {_ACCEPT}"
        return Finding("cpu", "cpu", "unreadable", reason, remedy, refusal=line)

    def _why_no_zones(self) -> tuple[str, str | None]:
        if self._rejected:
            return "powercap shows zones, but no package among them", None
        if self._problems:
            return f"the powercap tree is not whole: {self._problems[0]}", self._by_mount()
        where = f"no energy counters under {self._sys_root}/class/powercap"
        cpuinfo = read_text(self._proc_root / "cpuinfo") or ""
        if (other := architecture_without_rapl(cpuinfo)) is not None:
            return f"this processor has no RAPL counters ({other})", None
        if "hypervisor" in cpuinfo.split():
            return f"{where}: this is a virtual machine, whose hypervisor hides them", None
        if in_container(self._proc_root):
            remedy = "mount the host's /sys into it (-v /sys:/host/sys:ro), and name it by --sysfs"
            return f"{where}: this is a container", remedy
        return where, "sudo modprobe intel_rapl_msr"

    def _remedy(self, error: ReadingError) -> str:
        perf = f"or let perf read it: {self._by_perf()}; {_ACCEPT}"
        if error.gate == "permission_lost" and isinstance(error, ZoneError):
            readable = f"sudo chmod a+rX {error.path}"
            return f"run under sudo; or let this user read it: {readable}; {perf}"
        if isinstance(error, ZoneError) and error.hides_parts:
            return f"{self._by_mount()}; {_ACCEPT}"
        if error.gate != "permission_lost":
            return f"mend this file of the powercap tree; {_ACCEPT}"
        return (
            "run under sudo; or let a group read it: sudo groupadd -f energy && "
            "sudo usermod -aG energy $USER, the line "
            f"{_UDEV_RULE} in /etc/udev/rules.d/70-powercap.rules, then "
            "sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=powercap "
            f"--action=add, and log in again; {perf}"
        )

    def _by_mount(self) -> str:
        return f"mount devices/virtual/powercap below {self._sys_root} too, or all of /sys"

    def _by_perf(self) -> str:
        level = read_text(self._proc_root / "sys" / "kernel" / "perf_event_paranoid") or "unknown"
        return (
            f"sudo sysctl kernel.perf_event_paranoid=0 (now {level}), or "
            f"sudo setcap cap_perfmon=ep {os.path.realpath(sys.executable)}"
        )
