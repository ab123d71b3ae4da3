"""How the CPU's energy can be read here: powercap, else `perf`, else not, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wattest.energy import design
from wattest.energy.cpu.perf import Perf
from wattest.energy.cpu.perf_search import PerfSearch, search_perf
from wattest.energy.cpu.powercap import PowercapSearch, search_powercap
from wattest.energy.cpu.recording import Powercap
from wattest.energy.cpu.zones import Zone, ZoneError
from wattest.energy.types import Finding, ReadingError, SourceKind

if TYPE_CHECKING:
    from wattest.energy.sensors import SensorConfig

_UDEV_RULE = (
    'SUBSYSTEM=="powercap", ACTION=="add", '
    "RUN+=\"/bin/sh -c 'chgrp energy /sys%p/energy_uj; chmod g+r /sys%p/energy_uj'\""
)


@dataclass(frozen=True)
class CpuSearch:
    """What was found of the CPU's energy.

    Attributes:
        kind: Reads it; None if nothing does.
        findings: What `kind` does not report itself.
        faults: Sensors that exist but cannot be read, one line each with its remedy.
    """

    kind: SourceKind | None = None
    findings: tuple[Finding, ...] = ()
    faults: tuple[str, ...] = ()


def find_cpu(config: SensorConfig, idle_watts: Mapping[str, float]) -> CpuSearch:
    """Look for powercap first, then for perf.

    Args:
        config: Where to look.
        idle_watts: Idle baselines by label, shared with the session.
    """
    tree = search_powercap(config.sys_root, design.EDGE_RETRY_SECONDS)
    if tree.members and not tree.unreadable:
        return CpuSearch(Powercap(tree, idle_watts))
    perf = search_perf(config.perf_launcher)
    if perf.events and config.perf_launcher is not None:
        kind = Perf(perf.perf, perf.events, config.perf_launcher)
        return CpuSearch(kind, _why_not_powercap(tree, config))
    if tree.unreadable:
        return _unreadable(tree, config, idle_watts)
    if perf.is_forbidden and _has_power_unit(config.sys_root):
        return _forbidden_perf(perf, config)
    rejected = tuple(Finding("cpu", zone.label, "rejected", zone.reason) for zone in tree.rejected)
    return CpuSearch(None, (*_why_not_powercap(tree, config), *rejected))


def _unreadable(
    tree: PowercapSearch, config: SensorConfig, idle_watts: Mapping[str, float]
) -> CpuSearch:
    """Zones exist but cannot be read: faults, unless that is accepted."""
    if "cpu" not in config.allow_missing:
        return CpuSearch(faults=tuple(_fault(*pair, config) for pair in tree.unreadable))
    findings = tuple(
        Finding(
            "cpu",
            zone.label,
            "unavailable",
            f"{error}; accepted by --allow-missing cpu",
            _remedy(error, config),
        )
        for zone, error in tree.unreadable
    )
    lost = {zone.domain for zone, _ in tree.unreadable}
    if any(isinstance(error, ZoneError) and error.hides_parts for _, error in tree.unreadable):
        lost.add("cpu_ram")
    members = tuple(member for member in tree.members if member.zone.domain not in lost)
    if not members:
        return CpuSearch(None, findings)
    why = "; ".join(f"{one.name}: {one.reason}" for one in findings)
    missing = [zone for zone, _ in tree.unreadable]
    missing += [member.zone for member in tree.members if member.zone.domain in lost]
    left_out = tuple(replace(zone, reason=f"is left out of the sum: {why}") for zone in missing)
    tree = replace(tree, members=members, rejected=tree.rejected + left_out)
    return CpuSearch(Powercap(tree, idle_watts), findings)


def _fault(zone: Zone, error: ReadingError, config: SensorConfig) -> str:
    return f"cpu {zone.label}: exists but cannot be read: {error}. Remedy: {_remedy(error, config)}"


def _remedy(error: ReadingError, config: SensorConfig) -> str:
    accept = "or accept it with --allow-missing cpu"
    if error.gate == "permission_lost" and isinstance(error, ZoneError):
        return (
            f"run under sudo; or let this user read it: sudo chmod a+rX {error.path}; "
            f"or let perf read it: {_perf_remedy(config.proc_root)}; {accept}"
        )
    if isinstance(error, ZoneError) and error.hides_parts:
        return f"{_mount_remedy(config)}; {accept}"
    if error.gate != "permission_lost":
        return f"mend this file of the powercap tree; {accept}"
    return (
        "run under sudo; or let a group read it: sudo groupadd -f energy && "
        "sudo usermod -aG energy $USER, the line "
        f"{_UDEV_RULE} in /etc/udev/rules.d/70-powercap.rules, then "
        "sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=powercap "
        "--action=add, and log in again; "
        f"or let perf read it: {_perf_remedy(config.proc_root)}; {accept}"
    )


def _mount_remedy(config: SensorConfig) -> str:
    return f"mount devices/virtual/powercap below {config.sys_root} too, or all of /sys"


def _perf_remedy(proc_root: Path) -> str:
    level = _text(proc_root / "sys" / "kernel" / "perf_event_paranoid") or "unknown"
    return (
        f"sudo sysctl kernel.perf_event_paranoid=0 (now {level}), or "
        "sudo setcap cap_perfmon=ep $(readlink -f $(command -v perf))"
    )


def _forbidden_perf(perf: PerfSearch, config: SensorConfig) -> CpuSearch:
    remedy = f"run under sudo; or {_perf_remedy(config.proc_root)}"
    if "cpu" in config.allow_missing:
        reason = f"{perf.reason}; accepted by --allow-missing cpu"
        return CpuSearch(None, (Finding("cpu", "cpu", "unavailable", reason, remedy),))
    line = f"cpu: perf may not count energy: {perf.reason}. Remedy: {remedy}; or accept it with"
    return CpuSearch(faults=(f"{line} --allow-missing cpu",))


def _has_power_unit(sys_root: Path) -> bool:
    return (sys_root / "bus" / "event_source" / "devices" / "power").exists()


def _why_not_powercap(tree: PowercapSearch, config: SensorConfig) -> tuple[Finding, ...]:
    """Why the powercap tree is not used, one finding per zone that could not be read."""
    if tree.unreadable:
        return tuple(
            Finding("cpu", zone.label, "unavailable", str(error), _remedy(error, config))
            for zone, error in tree.unreadable
        )
    return (Finding("cpu", "cpu", "unavailable", *_why_no_zones(tree, config)),)


def _why_no_zones(tree: PowercapSearch, config: SensorConfig) -> tuple[str, str | None]:
    if tree.rejected:
        return "powercap shows zones, but no package among them", None
    if tree.problems:
        return f"the powercap tree is not whole: {tree.problems[0]}", _mount_remedy(config)
    where = f"no energy counters under {config.sys_root}/class/powercap"
    if " hypervisor " in f" {_text(config.proc_root / 'cpuinfo')} ".replace("\n", " "):
        return f"{where}: this is a virtual machine, whose hypervisor hides them", None
    return where, "sudo modprobe intel_rapl_msr"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
