"""How the CPU's energy can be read here: powercap, else perf events, else not, and why."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from wattest.energy.cpu.perf import search_perf
from wattest.energy.cpu.powercap import search_powercap
from wattest.energy.cpu.sensors import CpuSensors
from wattest.energy.cpu.zones import ZoneError
from wattest.energy.types import Finding, ReadingError

_ACCEPT = "or accept it with --allow-missing cpu"
_UDEV_RULE = (
    'SUBSYSTEM=="powercap", ACTION=="add", '
    "RUN+=\"/bin/sh -c 'chgrp energy /sys%p/energy_uj; chmod g+r /sys%p/energy_uj'\""
)


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
        unreadable = self._unreadable()
        if self._counters and not unreadable:
            return CpuSensors("powercap", self._counters, self._rejected)
        absences = [replace(finding, status="unavailable") for finding in unreadable]
        absences = absences or [Finding("cpu", "cpu", "unavailable", *self._why_no_zones())]
        try:
            counters, closing = search_perf(self._sys_root, self._zones)
        except ReadingError as error:
            if unreadable:
                return self._readable_part(unreadable)
            if error.gate == "permission_lost":
                return CpuSensors(absences=[self._forbidden(error)])
            return CpuSensors(rejected=self._rejected, absences=absences)
        return CpuSensors("perf", counters, (), absences, closing)

    def _unreadable(self) -> list[Finding]:
        """One finding per zone that should be added up and cannot be read."""
        found = []
        for zone in self._zones:
            if zone.fault is not None:
                reason, remedy = str(zone.fault), self._remedy(zone.fault)
                line = f"cpu {zone.label}: exists but cannot be read: {reason}. Remedy: {remedy}"
                found.append(Finding("cpu", zone.label, "unreadable", reason, remedy, refusal=line))
        return found

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
        if "hypervisor" in _text(self._proc_root / "cpuinfo").split():
            return f"{where}: this is a virtual machine, whose hypervisor hides them", None
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
        level = _text(self._proc_root / "sys" / "kernel" / "perf_event_paranoid") or "unknown"
        return (
            f"sudo sysctl kernel.perf_event_paranoid=0 (now {level}), or "
            f"sudo setcap cap_perfmon=ep {os.path.realpath(sys.executable)}"
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
