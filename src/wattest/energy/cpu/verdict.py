"""The verdict on one CPU domain (packages, or DRAM) from the tracks of its zones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wattest.energy.counter import CounterTrack
from wattest.energy.cpu.zones import Zone
from wattest.energy.gates import mean_power, sampling, too_few_periods
from wattest.energy.schedule import Schedule
from wattest.energy.types import NS, DomainResult, Reason, Status

_ABSENT = {
    "cpu_pkg": "no package zone",
    "cpu_ram": "this machine shows no DRAM domain",
}


@dataclass(frozen=True)
class CpuMember:
    """One zone at the end of its window.

    Attributes:
        zone: The zone.
        track: What its counter did.
        wired: False for a DRAM zone that stood at 0 in the probe.
        limit_watts: Its own power limit; None if unknown.
        idle_watts: Its idle baseline; None if unknown.
        resolution_joules: Smallest step seen in the probe; None if it did not move.
    """

    zone: Zone
    track: CounterTrack
    wired: bool
    limit_watts: float | None
    idle_watts: float | None
    resolution_joules: float | None

    def details(self) -> dict[str, object]:
        """Provenance of the zone, ready for JSON."""
        track, spec = self.track, self.track.spec
        return {
            "zone": self.zone.id,
            "label": self.zone.label,
            "path": str(self.zone.energy_path),
            "joules": None if track.fault else track.joules,
            "joules_until_failure": track.joules if track.fault and track.opened_ns else None,
            "fault": track.fault.text if track.fault else None,
            "samples": track.samples,
            "failed_reads": track.failed,
            "wraps": track.wraps,
            "longest_gap_seconds": track.longest_gap_ns / NS,
            "longest_still_seconds": track.stillness.longest_ns / NS,
            "update_period_seconds": spec.period_seconds,
            "resolution_joules": self.resolution_joules,
            "range_joules": spec.range_joules,
            "limit_watts": self.limit_watts,
            "edge_uncertainty_joules": track.edge_joules(),
        }


def judge_cpu_domain(
    domain: str,
    members: Sequence[CpuMember],
    rejected: Sequence[Zone],
    schedule: Schedule,
) -> DomainResult:
    """Add up the zones of `domain`, or say why that may not be done.

    Args:
        domain: `cpu_pkg` or `cpu_ram`.
        members: Every zone that was read, of both domains.
        rejected: Zones that were not read, with reasons.
        schedule: How the sampling times were kept.
    """
    own = [member for member in members if member.zone.domain == domain]
    used = [member for member in own if member.wired or _came_alive(member)]
    unused: list[object] = [
        {"zone": zone.id, "name": zone.name, "reason": zone.reason}
        for zone in rejected
        if domain == "cpu_pkg" or zone.name == "dram"
    ]
    unused += [
        {"zone": member.zone.id, "name": member.zone.name, "reason": "not wired"}
        for member in own
        if member not in used
    ]
    if not used:
        left_out = next((zone.reason for zone in rejected if zone.domain == domain), None)
        absent_reason = left_out or _ABSENT[domain]
        reason = "its counter stands at 0: not wired" if own else absent_reason
        absent = {"source": None, "reason": reason, "zones": [], "zones_not_used": unused}
        return DomainResult(domain, "unavailable", None, absent)
    faults = [reason for member in used for reason in _faults(member)]
    flags = [reason for member in used for reason in _flags(member)]
    gap_seconds = max(member.track.longest_gap_ns for member in used) / NS
    flags += sampling(domain, domain, schedule, gap_seconds)
    energy = None if faults else sum(member.track.joules for member in used)
    own_details = _details(used, unused, faults, energy)
    status: Status = "invalid" if faults else "measured"
    return DomainResult(domain, status, energy, own_details, tuple(faults), tuple(flags))


def _came_alive(member: CpuMember) -> bool:
    return member.track.joules > 0


def _faults(member: CpuMember) -> list[Reason]:
    track, spec = member.track, member.track.spec
    if track.fault:
        return [track.fault]
    seconds = track.span_seconds
    found = [too_few_periods(spec.domain, spec.label, seconds, track.period_seconds)]
    if seconds > 0:
        watts, idle = track.joules / seconds, member.idle_watts
        limit = member.limit_watts
        found.append(mean_power(spec.domain, spec.label, watts, idle, limit))
    return [reason for reason in found if reason is not None]


def _flags(member: CpuMember) -> list[Reason]:
    spec = member.track.spec
    found = list(member.track.flags())
    if spec.max_range is None:
        text = f"{spec.label}: max_energy_range_uj is unreadable, so a wrap could not be followed"
        found.append(Reason("range_unknown", text, spec.domain))
    if not member.wired:
        text = f"{spec.label}: its counter stood at 0 in the probe, and moved in the window"
        found.append(Reason("late_counter", text, spec.domain))
    return found


def _details(
    used: Sequence[CpuMember],
    unused: Sequence[object],
    faults: Sequence[Reason],
    energy_joules: float | None,
) -> dict[str, object]:
    tracks = [member.track for member in used]
    periods = [track.spec.period_seconds for track in tracks]
    steps = [member.resolution_joules for member in used]
    edge_joules = sum(track.edge_joules() for track in tracks)
    known_periods = [period for period in periods if period is not None]
    known_steps = [step for step in steps if step is not None]
    return {
        "source": "powercap",
        "reason": "; ".join(fault.text for fault in faults) or None,
        "zones": [member.details() for member in used],
        "zones_not_used": list(unused),
        "joules_until_failure": (
            sum(track.joules for track in tracks)
            if faults and all(track.opened_ns is not None for track in tracks)
            else None
        ),
        "samples": min(track.samples for track in tracks),
        "failed_reads": sum(track.failed for track in tracks),
        "wraps": sum(track.wraps for track in tracks),
        "longest_gap_seconds": max(track.longest_gap_ns for track in tracks) / NS,
        "update_period_seconds": max(known_periods, default=None),
        "resolution_joules": max(known_steps, default=None),
        "edge_uncertainty_joules": edge_joules,
        "edge_uncertainty_percent": 100 * edge_joules / energy_joules if energy_joules else None,
    }
