"""All visible GPUs in one window: what is read when, the traces, and what it adds up to."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from statistics import fmean

from wattest.energy import design
from wattest.energy.gates import sampling
from wattest.energy.gpu.sensors import GpuSensors
from wattest.energy.gpu.track import GpuTrack
from wattest.energy.gpu.verdict import Span, judge_gpu
from wattest.energy.recording import Recording
from wattest.energy.schedule import Schedule
from wattest.energy.traces import TraceFolder
from wattest.energy.types import NS, DomainResult, Reason

# The first columns are those that earlier tools read.
_TRACES = {
    "power": ("gpu_power.csv", "timestamp,power_draw_w,power_second_w,gpu", 2),
    "energy": ("gpu_energy.csv", "timestamp,energy_j,gpu", 3),
    "temperature": ("gpu_temperature.csv", "timestamp,gpu_temp_c,memory_temp_c,gpu", 0),
    "utilization": ("gpu_utilization.csv", "timestamp,gpu_util_percent,memory_util_percent,gpu", 0),
    "clocks": ("gpu_clocks.csv", "timestamp,sm_clock_mhz,memory_clock_mhz,memory_used_mb,gpu", 0),
}

_INTEGRAL = "integral_joules"


class GpuRecording(Recording):
    """The visible GPUs in one window, with idle baselines in watts by UUID."""

    def __init__(
        self, sensors: GpuSensors, idle_watts: Mapping[str, float], folder: TraceFolder
    ) -> None:
        self._gpus = [GpuTrack(gpu) for gpu in sensors.gpus]
        counters = [track.counter for track in self._gpus if track.counter is not None]
        super().__init__(counters, design.GPU_POWER_PERIOD_SECONDS)
        self._refusal = sensors.refusal
        self._notes = sensors.notes
        self._idle_watts = idle_watts
        self._traces = {name: folder.open(*trace) for name, trace in _TRACES.items()}
        self._opened_ns = self._counter_due_ns = self._vitals_due_ns = 0
        self._range_watts: tuple[float, float] | None = None
        self._last_watts: float | None = None

    def prepare(self) -> None:
        """Read throttling and vital signs, and see that every counter moves."""
        for track in self._gpus:
            track.read_throttling()
        self._read_vitals(time.monotonic_ns())
        super().prepare()

    def read_opening(self) -> None:
        """Read power, then the counters."""
        self._read_power_patiently()
        super().read_opening()
        self._opened_ns = time.monotonic_ns()
        self._counter_due_ns = self._after(self._opened_ns, design.GPU_COUNTER_PERIOD_SECONDS)
        self._vitals_due_ns = self._after(self._opened_ns, design.GPU_STATE_PERIOD_SECONDS)

    def _after(self, at_ns: int, seconds: float) -> int:
        """So much later, less half a tick: one that comes a little early is not put off."""
        return at_ns + int(NS * seconds) - self.period_ns // 2

    def sample(self, now_ns: int) -> None:
        """Read power, and every so often the counters and the vital signs."""
        self._read_power(now_ns)
        if now_ns >= self._counter_due_ns:
            self._counter_due_ns = self._after(now_ns, design.GPU_COUNTER_PERIOD_SECONDS)
            for track in self._gpus:
                if track.read_counter():
                    self._write_energy(now_ns, track)
        if now_ns >= self._vitals_due_ns:
            self._vitals_due_ns = self._after(now_ns, design.GPU_STATE_PERIOD_SECONDS)
            self._read_vitals(now_ns)

    def read_closing(self) -> None:
        """Read the counters, then power."""
        super().read_closing()
        self._read_power_patiently()

    def finish(self, opened_ns: int, ended_ns: int) -> None:
        """Read throttling and vital signs again, and decide what is open."""
        for track in self._gpus:
            track.read_throttling()
        self._read_vitals(time.monotonic_ns())
        super().finish(opened_ns, ended_ns)
        for track in self._gpus:
            self._write_energy(self.closed_ns, track)

    def _read_power(self, now_ns: int) -> None:
        total: float | None = 0.0
        for track in self._gpus:
            watts = track.read_power()
            if watts is not None:
                second = track.second_power.last_watts if track.second_power.samples else None
                self._traces["power"].write(now_ns, watts, second, track.gpu.uuid)
            total = None if watts is None or total is None else total + watts
        self._last_watts = total
        if total is not None:
            low, high = self._range_watts or (total, total)
            self._range_watts = (min(low, total), max(high, total))

    def _read_power_patiently(self) -> None:
        """Read power; again for a short while where it is the only source of energy."""
        deadline_ns = time.monotonic_ns() + int(design.EDGE_RETRY_SECONDS * NS)
        self._read_power(time.monotonic_ns())
        needed = [track for track in self._gpus if track.counter is None]
        while time.monotonic_ns() < deadline_ns and any(one.power_lost_ns for one in needed):
            time.sleep(0.01)
            self._read_power(time.monotonic_ns())

    def _read_vitals(self, now_ns: int) -> None:
        for track in self._gpus:
            one, traces = track.read_vitals(), self._traces
            traces["temperature"].write(now_ns, one.temperature_celsius, None, one.uuid)
            loads = (one.utilization_percent, one.memory_utilization_percent)
            traces["utilization"].write(now_ns, *loads, one.uuid)
            clocks = (one.sm_clock_mhz, one.memory_clock_mhz)
            traces["clocks"].write(now_ns, *clocks, one.memory_used_mb, one.uuid)

    def _write_energy(self, at_ns: int, track: GpuTrack) -> None:
        if track.counter is not None and track.counter.fault is None:
            self._traces["energy"].write(at_ns, track.counter.joules, track.gpu.uuid)

    def live(self) -> Mapping[str, float | None]:
        """The latest values of all GPUs together."""
        temperatures = _known(one.vitals["temperature_celsius"].last for one in self._gpus)
        loads = _known(one.vitals["utilization_percent"].last for one in self._gpus)
        # What the counter of a superchip covers is not known before the end.
        is_known = not any(one.counter and one.gpu.is_superchip for one in self._gpus)
        is_whole = is_known and all(track.fault is None for track in self.tracks)
        joules = sum((track.counter or track.power).joules for track in self._gpus)
        return {
            "gpu_watts": self._last_watts,
            "gpu_joules": joules if is_whole else None,
            "gpu_temperature_celsius": max(temperatures, default=None),
            "gpu_utilization_percent": fmean(loads) if loads else None,
        }

    def results(self, schedule: Schedule) -> tuple[DomainResult, ...]:
        """Judge each GPU and add them up, or say why that may not be done."""
        span = Span(self._opened_ns, self.closed_ns, schedule.period_ns / NS)
        parts = tuple(
            judge_gpu(track, span, self._idle_watts.get(track.gpu.uuid)) for track in self._gpus
        )
        faults = () if self._refusal else tuple(fault for part in parts for fault in part.faults)
        reason = self._refusal or "; ".join(fault.text for fault in faults) or None
        partial = sum(_known(part.joules_until_failure for part in parts))
        counted = [track.joules for track in self.tracks]
        integrals = [one for part in parts if isinstance(one := part.facts[_INTEGRAL], float)]
        gap_seconds = max(track.power.longest_gap_ns for track in self._gpus) / NS
        result = DomainResult(
            domain="gpu",
            status="unavailable" if self._refusal else "invalid" if faults else "measured",
            reason=reason,
            energy_joules=None if reason else sum(_known(part.joules for part in parts)),
            source=" + ".join(sorted({str(part.facts["source"]) for part in parts})),
            parts=parts,
            facts={
                "uuids": [part.name for part in parts],
                "gpus": [part.as_dict() for part in parts],
                "counter_joules": sum(counted) if len(counted) == len(parts) else None,
                _INTEGRAL: sum(integrals) if len(integrals) == len(parts) else None,
            },
            joules_until_failure=partial or None,
            wraps=0,
            faults=faults,
            flags=(
                *(flag for part in parts for flag in part.flags),
                *sampling("gpu", "gpu", schedule, gap_seconds),
                *(Reason("gpu_choice", note, "gpu") for note in self._notes),
            ),
            metrics=self._state_metrics() | ({} if reason else self._power_metrics()),
        )
        return (result,)

    def _power_metrics(self) -> dict[str, float | None]:
        """Power of all boards together; the mean is over time, so it lies between the others."""
        means = _known(track.power.mean_watts for track in self._gpus)
        if len(means) < len(self._gpus) or self._range_watts is None:
            return {}
        low, high = self._range_watts
        return {
            "gpu_power_avg_watts": sum(means),
            "gpu_power_max_watts": high,
            "gpu_power_min_watts": low,
        }

    def _state_metrics(self) -> dict[str, float | None]:
        """Temperature and utilisation: mean over time and GPUs, and the highest of any GPU.

        None unless every GPU told it to the end: what stopped midway speaks for a part of the time.
        """
        found: dict[str, float | None] = {}
        for name, unit in (("temperature", "celsius"), ("utilization", "percent")):
            means = [track.vitals[f"{name}_{unit}"] for track in self._gpus]
            is_whole = all(mean.last is not None for mean in means)
            values, highs = _known(one.value for one in means), _known(one.high for one in means)
            found[f"gpu_{name[:4]}_avg_{unit}"] = fmean(values) if is_whole else None
            found[f"gpu_{name[:4]}_max_{unit}"] = max(highs) if is_whole else None
        return found


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
