"""All visible GPUs in one window: what is read when, and the traces."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from wattest.energy import design
from wattest.energy.edges import (
    read_closing_edge,
    read_opening_edge,
    watch_after_edge,
    watch_before_edge,
)
from wattest.energy.gpu.board import GpuReader, Vitals
from wattest.energy.gpu.provenance import GpuWindow
from wattest.energy.gpu.track import GpuTrack
from wattest.energy.gpu.verdict import judge_gpus
from wattest.energy.schedule import Schedule
from wattest.energy.traces import TraceFolder
from wattest.energy.types import NS, DomainResult, Live


class _Traces:
    """The CSV files of the GPUs; the first columns are those that earlier tools read."""

    def __init__(self, folder: TraceFolder) -> None:
        self.power = folder.open("gpu_power.csv", "timestamp,power_draw_w,power_second_w,gpu", 2)
        self.energy = folder.open("gpu_energy.csv", "timestamp,energy_j,gpu")
        header = "timestamp,gpu_temp_c,memory_temp_c,gpu"
        self.temperature = folder.open("gpu_temperature.csv", header, 0)
        header = "timestamp,gpu_util_percent,memory_util_percent,gpu"
        self.utilization = folder.open("gpu_utilization.csv", header, 0)
        header = "timestamp,sm_clock_mhz,memory_clock_mhz,memory_used_mb,gpu"
        self.clocks = folder.open("gpu_clocks.csv", header, 0)

    def write_vitals(self, at_ns: int, one: Vitals, uuid: str) -> None:
        self.temperature.write(at_ns, one.temperature_celsius, None, uuid)
        loads = (one.utilization_percent, one.memory_utilization_percent)
        self.utilization.write(at_ns, *loads, uuid)
        clocks = (one.sm_clock_mhz, one.memory_clock_mhz)
        self.clocks.write(at_ns, *clocks, one.memory_used_mb, uuid)


class GpuRecording:
    """The visible GPUs in one window.

    Args:
        readers: One per GPU.
        refusal: Why their energy cannot be added up; empty if it can.
        notes: What the reader should know of how they were chosen.
        idle_watts: Idle baselines by UUID.
        folder: Where the traces go.
    """

    def __init__(
        self,
        readers: Sequence[GpuReader],
        refusal: str,
        notes: Sequence[str],
        idle_watts: Mapping[str, float],
        folder: TraceFolder,
    ) -> None:
        self._tracks = [GpuTrack(reader) for reader in readers]
        self._counters = [
            (track.counter, track.reader.millijoules)
            for track in self._tracks
            if track.counter is not None
        ]
        self._refusal = refusal
        self._notes = notes
        self._idle_watts = idle_watts
        self._traces = _Traces(folder)
        self.period_ns = int(NS * design.GPU_POWER_PERIOD_SECONDS)
        self._counter_every_ns = int(NS * design.GPU_COUNTER_PERIOD_SECONDS)
        self._vitals_every_ns = int(NS * design.GPU_STATE_PERIOD_SECONDS)
        self._counter_due_ns = self._vitals_due_ns = 0
        self._opened_ns = self._closed_ns = 0
        self._low_watts: float | None = None
        self._high_watts: float | None = None
        self._last_watts: float | None = None

    def prepare(self) -> None:
        """Read throttling and vital signs, and see that every counter moves."""
        for track in self._tracks:
            track.read_throttling()
        self._read_vitals(time.monotonic_ns())
        watch_before_edge(self._counters)

    def read_opening(self) -> None:
        """Read power, then the counters."""
        self._read_power_patiently()
        read_opening_edge(self._counters, design.EDGE_RETRY_SECONDS)
        self._opened_ns = time.monotonic_ns()
        # Half a tick early, so that a tick which comes a little early is not put off to the next.
        early_ns = self._opened_ns - self.period_ns // 2
        self._counter_due_ns = early_ns + self._counter_every_ns
        self._vitals_due_ns = early_ns + self._vitals_every_ns

    def sample(self, now_ns: int) -> None:
        """Read power, and every so often the counters and the vital signs."""
        self._read_power(now_ns)
        if now_ns >= self._counter_due_ns:
            self._counter_due_ns = max(self._counter_due_ns, now_ns - self.period_ns)
            self._counter_due_ns += self._counter_every_ns
            for track in self._tracks:
                if track.read_counter():
                    self._write_energy(now_ns, track)
        if now_ns >= self._vitals_due_ns:
            self._vitals_due_ns = max(self._vitals_due_ns, now_ns - self.period_ns)
            self._vitals_due_ns += self._vitals_every_ns
            self._read_vitals(now_ns)

    def read_closing(self) -> None:
        """Read the counters, then power."""
        read_closing_edge(self._counters, design.EDGE_RETRY_SECONDS)
        self._closed_ns = time.monotonic_ns()
        self._read_power_patiently()

    def finish(self, opened_ns: int, ended_ns: int) -> None:
        """Read throttling and vital signs again, and decide what is open."""
        for track in self._tracks:
            track.read_throttling()
        self._read_vitals(time.monotonic_ns())
        watch_after_edge(self._counters)
        for counter, _ in self._counters:
            counter.settle(self._closed_ns)
            counter.add_edge_delay(opened_ns, ended_ns)
        for track in self._tracks:
            self._write_energy(self._closed_ns, track)

    def results(self, schedule: Schedule) -> tuple[DomainResult, ...]:
        """Judge the GPUs, each and together."""
        window = GpuWindow(
            tracks=self._tracks,
            refusal=self._refusal,
            notes=self._notes,
            opened_ns=self._opened_ns,
            closed_ns=self._closed_ns,
            low_watts=self._low_watts,
            high_watts=self._high_watts,
            idle_watts=self._idle_watts,
        )
        return (judge_gpus(window, schedule),)

    def live(self) -> Live:
        """Sums over the GPUs; the hottest one's temperature."""
        joules: float | None = 0.0
        for track in self._tracks:
            own = track.counter.joules if track.counter else track.power.joules
            joules = (
                None if joules is None or (track.counter and track.counter.fault) else joules + own
            )
        temperatures = [track.temperature.last for track in self._tracks]
        loads = [track.utilization.last for track in self._tracks]
        known_loads = [load for load in loads if load is not None]
        return Live(
            "gpu",
            self._last_watts,
            joules,
            max((one for one in temperatures if one is not None), default=None),
            sum(known_loads) / len(known_loads) if known_loads else None,
        )

    def close(self) -> None:
        """Nothing is held open."""

    def _read_power(self, now_ns: int) -> None:
        total = 0.0
        complete = True
        for track in self._tracks:
            if not track.reader.gpu.has_power:
                complete = False
                continue
            watts = track.read_power()
            if watts is None:
                complete = False
                continue
            total += watts
            second = track.second_power.last_watts if track.second_power.samples else None
            self._traces.power.write(now_ns, watts, second, track.reader.gpu.uuid)
        self._last_watts = total if complete else None
        if not complete:
            return
        if self._low_watts is None or total < self._low_watts:
            self._low_watts = total
        if self._high_watts is None or total > self._high_watts:
            self._high_watts = total

    def _read_power_patiently(self) -> None:
        """Read power; again for a short while where it is the only source of energy."""
        deadline_ns = time.monotonic_ns() + int(design.EDGE_RETRY_SECONDS * NS)
        self._read_power(time.monotonic_ns())
        while time.monotonic_ns() < deadline_ns and any(
            track.counter is None and track.power_lost_ns is not None for track in self._tracks
        ):
            time.sleep(0.01)
            self._read_power(time.monotonic_ns())

    def _read_vitals(self, now_ns: int) -> None:
        for track in self._tracks:
            self._traces.write_vitals(now_ns, track.read_vitals(), track.reader.gpu.uuid)

    def _write_energy(self, at_ns: int, track: GpuTrack) -> None:
        if track.counter is not None and track.counter.fault is None:
            self._traces.energy.write(at_ns, track.counter.joules, track.reader.gpu.uuid)
