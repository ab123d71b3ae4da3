"""CPU packages and DRAM in one window: read, traced, judged and added up."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from wattest.energy import design
from wattest.energy.counter import Counter
from wattest.energy.cpu.perf import EVENTS
from wattest.energy.cpu.powercap import most_watts
from wattest.energy.cpu.search import CpuSensors
from wattest.energy.cpu.zones import Zone
from wattest.energy.gates import mean_power, sampling, too_few_periods
from wattest.energy.recording import Recording, read
from wattest.energy.schedule import Schedule
from wattest.energy.traces import TraceFolder
from wattest.energy.track import CounterTrack
from wattest.energy.types import NS, DomainResult, Part, Reason

_ABSENT = {"cpu_pkg": "no package zone", "cpu_ram": "this machine shows no DRAM domain"}


class CpuRecording(Recording):
    """The CPU's counters in one window, with idle baselines in watts by label."""

    def __init__(
        self, cpu: CpuSensors, idle_watts: Mapping[str, float], traces: TraceFolder
    ) -> None:
        tracks = [CounterTrack(_by_its_limit(counter)) for counter in cpu.counters]
        self._limits_due_ns = 0
        super().__init__(tracks, _period_seconds(cpu.counters))
        self._source = cpu.source
        self._rejected = cpu.rejected
        self._find_unseen = cpu.unseen
        self._unseen: Sequence[Zone] = ()
        self._idle_watts = idle_watts
        self._trace = traces.open("cpu_power.csv", "timestamp,power_draw_w,energy_j,zone", digits=6)

    def prepare(self) -> None:
        """Ask for the power limits, and see that every counter moves."""
        self._read_limits(time.monotonic_ns())
        super().prepare()

    def sample(self, now_ns: int) -> None:
        """Read every counter once, and every so often the limits."""
        for track in self.tracks:
            if read(track):
                self._write(now_ns, track)
        if now_ns >= self._limits_due_ns:
            self._read_limits(now_ns)

    def finish(self, opened_ns: int, ended_ns: int) -> None:
        """Ask for the limits again, see whether still counters are frozen, decide what is open."""
        self._read_limits(self.closed_ns)
        super().finish(opened_ns, ended_ns)
        self._unseen = self._find_unseen()
        for track in self.tracks:
            self._write(self.closed_ns, track)

    def _read_limits(self, now_ns: int) -> None:
        self._limits_due_ns = now_ns + int(NS * design.CPU_LIMIT_PERIOD_SECONDS)
        for track in self.tracks:
            track.read_limit()

    def _write(self, at_ns: int, track: CounterTrack) -> None:
        if track.last_watts is not None and track.fault is None:
            self._trace.write(at_ns, track.last_watts, track.joules, track.counter.label)

    def live(self) -> Mapping[str, float | None]:
        """Sums over the counters, as far as they are alive."""
        alive = [track for track in self.tracks if track.fault is None]
        watts = [track.last_watts for track in alive if track.last_watts is not None]
        return {
            "cpu_watts": sum(watts) if watts else None,
            "cpu_joules": sum(track.joules for track in alive) if alive else None,
        }

    def results(self, schedule: Schedule) -> tuple[DomainResult, ...]:
        """Judge packages and DRAM."""
        return tuple(self._judge(domain, schedule) for domain in EVENTS)

    def _judge(self, domain: str, schedule: Schedule) -> DomainResult:
        """Add the counters of a domain up, or say why that may not be done."""
        own = [track for track in self.tracks if track.counter.domain == domain]
        used = [track for track in own if track.counter.is_wired or track.joules > 0]
        parts = tuple(self._part(track) for track in used)
        is_perf = self._source == "perf"
        uncovered = self._uncovered(domain, used)
        facts: dict[str, object] = {
            "zones": [part.as_dict() for part in parts],
            "zones_not_used": self._unused(domain) + (uncovered if parts or own else []),
        }
        if not parts:
            reason = "its counter stands at 0: not wired" if own else self._why_absent(domain)
            return DomainResult(domain, "unavailable", reason, facts=facts)
        joules = sum(track.joules for track in used)
        faults = tuple(fault for part in parts for fault in part.faults)
        has_begun = all(track.opened_ns is not None for track in used)
        gap_seconds = max(part.longest_gap_seconds for part in parts)
        return DomainResult(
            domain=domain,
            status="invalid" if faults else "measured",
            reason="; ".join(fault.text for fault in faults) or None,
            energy_joules=None if faults else joules,
            source=self._source,
            parts=parts,
            facts={"event": EVENTS[domain], **facts} if is_perf else facts,
            joules_until_failure=joules if faults and has_begun else None,
            wraps=None if is_perf else sum(track.wraps for track in used),
            faults=faults,
            flags=(
                *(flag for part in parts for flag in part.flags),
                *map(_not_covered, uncovered),
                *(_appeared(zone) for zone in self._unseen if zone.domain == domain),
                *sampling(domain, domain, schedule, gap_seconds),
            ),
        )

    def _unused(self, domain: str) -> list[dict[str, str]]:
        """The zones that are not in the sum of a domain, and why."""
        return [
            {"zone": zone.id, "name": zone.name, "reason": zone.reason}
            for zone in self._rejected
            if domain == "cpu_pkg" or zone.name == "dram"
        ]

    def _uncovered(self, domain: str, used: Sequence[CounterTrack]) -> list[dict[str, str]]:
        """Of every package whose memory is not in the sum: what should be in it, and why not."""
        covered = {track.counter.package for track in used}
        found: dict[str, dict[str, str]] = {}
        for counter in (track.counter for track in self.tracks if domain == "cpu_ram"):
            if counter.package not in covered:
                reason = "not wired" if counter.domain == domain else "its package shows no DRAM"
                one = {"zone": counter.zone, "name": "dram", "reason": reason}
                found[counter.package] = one | {"package": counter.package}
        return list(found.values())

    def _why_absent(self, domain: str) -> str:
        left_out = (zone.reason for zone in self._rejected if zone.domain == domain)
        if self._source == "perf":
            return next(left_out, "perf cannot count it here")
        drams = [zone for zone in self._rejected if domain == "cpu_ram" and zone.name == "dram"]
        told = "; ".join(f"its DRAM zone {zone.id} {zone.reason}" for zone in drams)
        return next(left_out, told or _ABSENT[domain])

    def _part(self, track: CounterTrack) -> Part:
        counter, fault = track.counter, track.fault
        joules = None if track.opened_ns is None else track.joules
        return Part(
            name=counter.label,
            facts={
                "zone": counter.zone,
                "label": counter.label,
                "path": counter.path,
                "fault": fault.text if fault else None,
                "wraps": track.wraps,
                "longest_still_seconds": track.longest_still_ns / NS,
                "range_joules": counter.range_joules,
                "limit_watts": track.limit_watts,
            },
            joules=None if fault else joules,
            joules_until_failure=joules if fault else None,
            samples=track.samples,
            failed_reads=track.failed,
            longest_gap_seconds=track.longest_gap_ns / NS,
            update_period_seconds=counter.period_seconds,
            resolution_joules=counter.resolution_joules,
            edge_uncertainty_joules=track.edge_joules(),
            faults=(fault,) if fault else self._refusals(track),
            flags=(*track.flags, *_flags(counter)),
        )

    def _refusals(self, track: CounterTrack) -> tuple[Reason, ...]:
        """What the gates say of a counter that was followed without a fault."""
        counter, seconds = track.counter, track.span_seconds
        domain, label = counter.domain, counter.label
        found = [too_few_periods(domain, label, seconds, track.period_seconds)]
        if seconds > 0:
            watts, idle_watts = track.joules / seconds, self._idle_watts.get(label)
            found.append(mean_power(domain, label, watts, idle_watts, track.limit_watts))
        return tuple(reason for reason in found if reason is not None)


def _by_its_limit(counter: Counter) -> Counter:
    """A counter by whose limit of now a wrap is told from a reset."""
    return replace(counter, most_watts=max(counter.most_watts, most_watts(counter.limit_watts)))


def _not_covered(one: Mapping[str, str]) -> Reason:
    how = "its DRAM zone stands at 0" if one["reason"] == "not wired" else "shows no DRAM zone"
    text = f"cpu_ram: {one['package']}: {how}: its memory is not in this sum"
    return Reason("dram_partial", text, "cpu_ram")


def _appeared(zone: Zone) -> Reason:
    text = f"{zone.domain}: {zone.label} appeared later: it is not in this sum"
    return Reason("zone_appeared", text, zone.domain)


def _flags(counter: Counter) -> list[Reason]:
    """What is odd about a counter, however its window went."""
    found = []
    if counter.wraps and counter.max_range is None:
        text = "max_energy_range_uj is unreadable, so a wrap could not be followed"
        found.append(Reason("range_unknown", f"{counter.label}: {text}", counter.domain))
    if not counter.is_wired:
        text = "its counter stood at 0 in the probe, and moved in the window"
        found.append(Reason("late_counter", f"{counter.label}: {text}", counter.domain))
    return found


def _period_seconds(counters: Sequence[Counter]) -> float:
    """As often as usual, or as it takes to tell a wrap of the smallest range from a reset."""
    ranges = [joules for one in counters if (joules := one.range_joules) is not None]
    if not ranges:
        return design.CPU_PERIOD_SECONDS
    needed = design.WRAP_RANGE_SHARE * min(ranges) / design.WRAP_POWER_WATTS
    return min(design.CPU_PERIOD_SECONDS, max(design.CPU_PERIOD_MIN_SECONDS, needed))
