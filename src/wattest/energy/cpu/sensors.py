"""What is read of the CPU on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from wattest.energy.counter import Counter
from wattest.energy.cpu.recording import CpuRecording
from wattest.energy.cpu.zones import Zone
from wattest.energy.traces import TraceFolder
from wattest.energy.types import Finding


@dataclass
class CpuSensors:
    """The CPU's counters that are read, if any are.

    Attributes:
        source: `powercap` or `perf`.
        counters: They.
        rejected: Zones that are not added up, with reasons.
        absences: What is not read, and why.
        closing: Closes what they are read by.
    """

    source: str = ""
    counters: Sequence[Counter] = ()
    rejected: Sequence[Zone] = ()
    absences: Sequence[Finding] = ()
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
        rejected = [zone for zone in self.rejected if zone.label not in known]
        return (
            *self.absences,
            *(self._finding(counter) for counter in self.counters),
            *(
                Finding("cpu", zone.label, "rejected", zone.reason, details={"zone": zone.id})
                for zone in rejected
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

    def record(self, traces: TraceFolder, idle_watts: Mapping[str, float]) -> CpuRecording | None:
        """Begin a window, with idle baselines by label; None where there is nothing to read."""
        if not self.counters:
            return None
        return CpuRecording(self.source, self.counters, self.rejected, idle_watts, traces)
