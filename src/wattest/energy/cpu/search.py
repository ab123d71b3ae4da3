"""How the CPU's energy can be read here: powercap, else perf events, else not, and why."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from wattest.energy.cpu.perf import search_perf
from wattest.energy.cpu.powercap import Powercap, search_powercap
from wattest.energy.cpu.sensors import CpuSensors
from wattest.energy.cpu.zones import ZoneError
from wattest.energy.types import Finding, ReadingError

_ACCEPT = "or accept it with --allow-missing cpu"
_UDEV_RULE = (
    'SUBSYSTEM=="powercap", ACTION=="add", '
    "RUN+=\"/bin/sh -c 'chgrp energy /sys%p/energy_uj; chmod g+r /sys%p/energy_uj'\""
)


@dataclass(frozen=True)
class CpuSearch:
    """Where to look: the roots of /sys and /proc."""

    sys_root: Path
    proc_root: Path

    def find(self) -> CpuSensors:
        """What can be read, by the better way; else what stands against either."""
        tree = search_powercap(self.sys_root)
        if tree.counters and not tree.unreadable:
            return CpuSensors("powercap", tree.counters, tree.rejected)
        perf = search_perf(self.sys_root, tree.zones)
        if perf.counters:
            why_not = self._why_not_powercap(tree)
            return CpuSensors("perf", perf.counters, (), why_not, perf.closing)
        if tree.unreadable:
            return self._readable_part(tree)
        if perf.is_forbidden:
            remedy = f"run under sudo; or {self._perf_remedy()}"
            line = f"cpu: perf may not count energy: {perf.reason}. Remedy: {remedy}; {_ACCEPT}"
            finding = Finding("cpu", "cpu", "unreadable", perf.reason, remedy, refusal=line)
            return CpuSensors(absences=[finding])
        return CpuSensors(rejected=tree.rejected, absences=self._why_not_powercap(tree))

    def _readable_part(self, tree: Powercap) -> CpuSensors:
        """What can be read where zones exist that cannot: the domains that lack none of them."""
        findings = self._unreadable(tree)
        lost = {zone.domain for zone, _ in tree.unreadable}
        if any(isinstance(error, ZoneError) and error.hides_parts for _, error in tree.unreadable):
            lost.add("cpu_ram")
        counters = [one for one in tree.counters if one.domain not in lost]
        if not counters:
            return CpuSensors(absences=findings)
        why = "; ".join(f"{one.name}: {one.statement}" for one in findings)
        left_out = [
            replace(zone, reason=f"is left out of the sum: {why}")
            for zone in tree.zones
            if zone.domain in lost
        ]
        return CpuSensors("powercap", counters, [*tree.rejected, *left_out], findings)

    def _unreadable(self, tree: Powercap) -> list[Finding]:
        """One finding per zone that should be added up and cannot be read."""
        found = []
        for zone, error in tree.unreadable:
            remedy = self._remedy(error)
            line = f"cpu {zone.label}: exists but cannot be read: {error}. Remedy: {remedy}"
            reason = str(error)
            found.append(Finding("cpu", zone.label, "unreadable", reason, remedy, refusal=line))
        return found

    def _why_not_powercap(self, tree: Powercap) -> list[Finding]:
        """Why the powercap tree is not used, one finding per zone that could not be read."""
        if tree.unreadable:
            return [replace(one, status="unavailable") for one in self._unreadable(tree)]
        return [Finding("cpu", "cpu", "unavailable", *self._why_no_zones(tree))]

    def _why_no_zones(self, tree: Powercap) -> tuple[str, str | None]:
        if tree.rejected:
            return "powercap shows zones, but no package among them", None
        if tree.problems:
            return f"the powercap tree is not whole: {tree.problems[0]}", self._mount_remedy()
        where = f"no energy counters under {self.sys_root}/class/powercap"
        if "hypervisor" in _text(self.proc_root / "cpuinfo").split():
            return f"{where}: this is a virtual machine, whose hypervisor hides them", None
        return where, "sudo modprobe intel_rapl_msr"

    def _remedy(self, error: ReadingError) -> str:
        perf = f"or let perf read it: {self._perf_remedy()}; {_ACCEPT}"
        if error.gate == "permission_lost" and isinstance(error, ZoneError):
            readable = f"sudo chmod a+rX {error.path}"
            return f"run under sudo; or let this user read it: {readable}; {perf}"
        if isinstance(error, ZoneError) and error.hides_parts:
            return f"{self._mount_remedy()}; {_ACCEPT}"
        if error.gate != "permission_lost":
            return f"mend this file of the powercap tree; {_ACCEPT}"
        return (
            "run under sudo; or let a group read it: sudo groupadd -f energy && "
            "sudo usermod -aG energy $USER, the line "
            f"{_UDEV_RULE} in /etc/udev/rules.d/70-powercap.rules, then "
            "sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=powercap "
            f"--action=add, and log in again; {perf}"
        )

    def _mount_remedy(self) -> str:
        return f"mount devices/virtual/powercap below {self.sys_root} too, or all of /sys"

    def _perf_remedy(self) -> str:
        level = _text(self.proc_root / "sys" / "kernel" / "perf_event_paranoid") or "unknown"
        return (
            f"sudo sysctl kernel.perf_event_paranoid=0 (now {level}), or "
            f"sudo setcap cap_perfmon=ep {os.path.realpath(sys.executable)}"
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
