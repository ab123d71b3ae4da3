"""CPU packages and DRAM through the kernel's powercap tree (RAPL), as one kind of source.

Counters are read by path every time, never through a descriptor that is kept: a reading then sees
at once that a permission was lost or that a zone went away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from wattest.energy import design
from wattest.energy.counter import CounterTrack
from wattest.energy.cpu.powercap import Member, PowercapSearch
from wattest.energy.cpu.verdict import CpuMember, judge_cpu_domain
from wattest.energy.cpu.zones import Zone
from wattest.energy.edges import (
    read_closing_edge,
    read_opening_edge,
    watch_after_edge,
    watch_before_edge,
)
from wattest.energy.probe import Probed
from wattest.energy.schedule import Schedule
from wattest.energy.traces import TraceFolder
from wattest.energy.types import NS, DomainResult, Finding, Live, ReadingError

_MICRO = 1e-6


class Powercap:
    """The zones of this machine that are added up.

    Args:
        search: What the tree offers.
        idle_watts: Idle baselines by label, shared with the session.
    """

    def __init__(
        self,
        search: PowercapSearch,
        idle_watts: Mapping[str, float],
    ) -> None:
        self._search = search
        self._members = search.members
        self._idle_watts = idle_watts

    def counters(self) -> Mapping[str, Callable[[], int]]:
        """How to read each zone, by its label."""
        return {member.zone.label: member.reader() for member in self._members}

    def learn(self, probed: Mapping[str, Probed]) -> None:
        """Take what the probe found of each zone."""
        self._members = tuple(
            replace(member, probed=seen, wired=not _is_unwired(member.zone, seen))
            for member in self._members
            for seen in (probed[member.zone.label],)
        )

    def findings(self) -> tuple[Finding, ...]:
        """Every zone, measured or not, but those that could not be read."""
        unreadable = {zone.id for zone, _ in self._search.unreadable}
        return (
            *(_finding(member) for member in self._members),
            *(
                Finding("cpu", zone.label, "rejected", zone.reason, details={"zone": zone.id})
                for zone in self._search.rejected
                if zone.id not in unreadable
            ),
        )

    def record(self, traces: TraceFolder) -> PowercapRecording:
        """Begin a window."""
        return PowercapRecording(
            self._members,
            self._search.rejected,
            self._idle_watts,
            traces,
        )

    def close(self) -> None:
        """Nothing is held open."""


def _is_unwired(zone: Zone, probed: Probed) -> bool:
    return zone.domain == "cpu_ram" and probed.first == 0 and probed.last == 0


def _finding(member: Member) -> Finding:
    zone, probed = member.zone, member.probed
    details: dict[str, object] = {
        "zone": zone.id,
        "path": str(zone.energy_path),
        "max_range_joules": None if member.max_range is None else member.max_range * _MICRO,
        "limit_watts": member.limit_watts,
    }
    if probed is not None:
        details["update_period_seconds"] = probed.period_seconds
        details["resolution_joules"] = (
            None if probed.step_counts is None else probed.step_counts * _MICRO
        )
    if not member.wired:
        reason = "not wired: its counter stands at 0 and does not move"
        return Finding("cpu", zone.label, "rejected", reason, details=details)
    notes = []
    if probed is not None and probed.step_counts is None:
        notes.append(f"its counter did not move in the probe of {probed.seconds:.1f} s")
    if member.max_range is None:
        notes.append("max_energy_range_uj is unreadable, so a wrap cannot be followed")
    return Finding("cpu", zone.label, "measured", "; ".join(notes), None, "powercap", details)


class PowercapRecording:
    """The zones in one window."""

    def __init__(
        self,
        members: Sequence[Member],
        rejected: Sequence[Zone],
        idle_watts: Mapping[str, float],
        traces: TraceFolder,
    ) -> None:
        self._rejected = rejected
        self._idle_watts = idle_watts
        self._trace = traces.open("cpu_power.csv", "timestamp,power_draw_w,energy_j,zone", digits=6)
        self._members = [(member, CounterTrack(member.spec())) for member in members]
        self._counters = [(track, member.reader()) for member, track in self._members]
        self._closed_ns = 0
        self.period_ns = int(NS * _period_seconds(members))

    def prepare(self) -> None:
        """See that every counter moves."""
        watch_before_edge(self._counters)

    def read_opening(self) -> None:
        """Read every zone; those that fail again for a short while."""
        read_opening_edge(self._counters, design.EDGE_RETRY_SECONDS)

    def sample(self, now_ns: int) -> None:
        """Read every zone once."""
        clock_ns = time.monotonic_ns
        for track, read in self._counters:
            try:
                value = read()
            except ReadingError as error:
                track.fail(now_ns, error)
            else:
                track.read(clock_ns(), value)
                self._write_trace(now_ns, track)

    def read_closing(self) -> None:
        """Read every zone; those that fail again for a short while."""
        read_closing_edge(self._counters, design.EDGE_RETRY_SECONDS)
        self._closed_ns = time.monotonic_ns()

    def finish(self, opened_ns: int, ended_ns: int) -> None:
        """See whether counters that stand still are frozen, and decide what is open."""
        watch_after_edge(self._counters)
        for track, _ in self._counters:
            track.settle(self._closed_ns)
            self._write_trace(self._closed_ns, track)
            track.add_edge_delay(opened_ns, ended_ns)

    def results(self, schedule: Schedule) -> tuple[DomainResult, ...]:
        """Judge packages and DRAM."""
        return tuple(
            judge_cpu_domain(
                domain,
                [self._member(member, track) for member, track in self._members],
                self._rejected,
                schedule,
            )
            for domain in ("cpu_pkg", "cpu_ram")
        )

    def _member(self, member: Member, track: CounterTrack) -> CpuMember:
        step = member.probed.step_counts if member.probed else None
        return CpuMember(
            zone=member.zone,
            track=track,
            wired=member.wired,
            limit_watts=member.limit_watts,
            idle_watts=self._idle_watts.get(member.zone.label),
            resolution_joules=None if step is None else step * _MICRO,
        )

    def live(self) -> Live:
        """Sums over the zones, as far as they are alive."""
        tracks = [track for track, _ in self._counters if track.fault is None]
        watts = [track.last_watts for track in tracks if track.last_watts is not None]
        joules = sum(track.joules for track in tracks) if tracks else None
        return Live("cpu", sum(watts) if watts else None, joules)

    def close(self) -> None:
        """Nothing is held open."""

    def _write_trace(self, at_ns: int, track: CounterTrack) -> None:
        if track.last_watts is not None and track.fault is None:
            self._trace.write(at_ns, track.last_watts, track.joules, track.spec.label)


def _period_seconds(members: Sequence[Member]) -> float:
    """As often as usual, or as it takes to tell a wrap of the smallest range from a reset."""
    ranges = [member.max_range * _MICRO for member in members if member.max_range]
    if not ranges:
        return design.CPU_PERIOD_SECONDS
    needed = design.WRAP_RANGE_SHARE * min(ranges) / design.WRAP_POWER_WATTS
    return min(design.CPU_PERIOD_SECONDS, max(design.CPU_PERIOD_MIN_SECONDS, needed))
