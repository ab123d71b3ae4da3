"""The verdict on one GPU of one window, and its provenance."""

from __future__ import annotations

from dataclasses import dataclass

from wattest.energy import design, gates
from wattest.energy.gates import Verdict
from wattest.energy.gpu.nvml import AVERAGE_SECONDS
from wattest.energy.gpu.power import Integral
from wattest.energy.gpu.track import GpuTrack
from wattest.energy.track import CounterTrack
from wattest.energy.types import NS, Part, Reason


@dataclass(frozen=True)
class Span:
    """From one edge to the other on the monotonic clock, and the time between readings of power."""

    opened_ns: int
    closed_ns: int
    period_seconds: float

    @property
    def seconds(self) -> float:
        """How long it was."""
        return (self.closed_ns - self.opened_ns) / NS

    def joules(self, power: Integral) -> float | None:
        """Integrated power over it; None without a sample."""
        return power.over(self.opened_ns, self.closed_ns)

    def gap_seconds(self, power: Integral) -> float:
        """Longest time in it without a sample."""
        return power.gap_ns(self.opened_ns, self.closed_ns) / NS


def judge_gpu(track: GpuTrack, window: Span, idle_watts: float | None) -> Part:
    """Judge a GPU by its counter, else by its integrated power."""
    gpu, counter, span = track.gpu, track.counter, window
    scope = _scope_of_counter(track, window)
    if counter is None or scope == "module":
        counter = None
        verdicts = _judge_integral(track, window)
        joules = window.joules(track.power)
        edge_joules = 2 * window.period_seconds * (track.power.high_watts or 0.0)
        edge_joules += _lag_joules(track.power) if gpu.averages_power else 0.0
    else:
        if counter.opened_ns is not None:
            # From its opening reading to its closing one, which the integral must match.
            closed_ns = counter.opened_ns + int(counter.span_seconds * NS)
            span = Span(counter.opened_ns, closed_ns, window.period_seconds)
        verdicts = _judge_counter(counter, track, span)
        joules = None if counter.opened_ns is None else counter.joules
        edge_joules = counter.edge_joules(track.power.high_watts or 0.0)
    if joules is not None and not any(fault for fault, _ in verdicts):
        bears_out = span.joules(track.power) if counter else None
        verdicts.append(_judge_joules(track, joules, span.seconds, idle_watts, bears_out))
    verdicts.append((None, gates.superchip(gpu.uuid, scope)))
    faults = tuple(fault for fault, _ in verdicts if fault is not None)
    flags = [flag for _, flag in verdicts if flag is not None]
    own = track.power if counter is None or gpu.read_power else counter
    facts = {"source": "nvml-counter" if counter else "nvml-power-integral", "counter_scope": scope}
    return Part(
        name=gpu.uuid,
        facts={**_facts(track, span), **facts, "faults": [fault.text for fault in faults]},
        joules=None if faults else joules,
        joules_until_failure=joules if faults else None,
        samples=track.power.samples,
        failed_reads=track.failed_power_reads + (track.counter.failed if track.counter else 0),
        longest_gap_seconds=own.longest_gap_ns / NS,
        update_period_seconds=gpu.counter.period_seconds if gpu.counter else None,
        resolution_joules=gpu.counter.resolution_joules if gpu.counter else None,
        edge_uncertainty_joules=edge_joules,
        faults=faults,
        flags=(*flags, *gates.throttling(gpu.uuid, track.throttled)),
    )


def _judge_counter(counter: CounterTrack, track: GpuTrack, span: Span) -> list[Verdict]:
    """Judge a counter, beside both integrals of power."""
    if counter.fault is not None:
        return [(counter.fault, None)]
    flags: list[Verdict] = [(None, flag) for flag in counter.flags]
    uuid = track.gpu.uuid
    short = gates.too_few_periods("gpu", uuid, counter.span_seconds, counter.period_seconds)
    first, second = span.joules(track.power), span.joules(track.second_power)
    if short is not None or first is None:
        return [*flags, (short, None)]
    opinion = None if second is None else (second, _lag_joules(track.second_power))
    return [*flags, gates.counter_against_integral(uuid, counter.joules, first, opinion)]


def _judge_integral(track: GpuTrack, window: Span) -> list[Verdict]:
    """Judge integrated power, where there is no counter."""
    uuid, seconds, period_seconds = track.gpu.uuid, window.seconds, window.period_seconds
    first, second = window.joules(track.power), window.joules(track.second_power)
    if track.power_lost_ns is not None or first is None:
        lost_ns = max(0, window.closed_ns - (track.power_lost_ns or window.closed_ns))
        text = f"no power reading at the closing edge; lost {lost_ns / NS:.1f} s before the end"
        text = f"{uuid}: {text}: {track.power_failure}"
        return [(Reason("source_lost", text, "gpu"), None)]
    short = gates.too_few_periods("gpu", uuid, seconds, period_seconds)
    if short is not None:
        return [(short, None)]
    gap = gates.integral_gap(uuid, window.gap_seconds(track.power), seconds, period_seconds)
    if second is None:
        return [gap]
    doubt_joules = _lag_joules(track.second_power) + period_seconds * track.power.range_watts
    missing_percent = 100 * window.gap_seconds(track.second_power) / seconds
    return [gap, gates.compare_readings(uuid, first, second, doubt_joules, missing_percent)]


def _lag_joules(average: Integral) -> float:
    """How far a running average, integrated, may lag behind: half its span at each edge."""
    return average.range_watts * AVERAGE_SECONDS / 2


def _scope_of_counter(track: GpuTrack, window: Span) -> str | None:
    """What a counter covers: `board`, or `module` with its CPU; `unknown` where that may be.

    On a superchip the counter's scope is not said anywhere; that of the power fields is.
    """
    counter = track.counter
    integral = window.joules(track.second_power) or window.joules(track.power)
    if counter is None or not track.gpu.is_superchip:
        return "board" if counter else None
    if integral is None or counter.fault is not None or not track.gpu.has_fields:
        return "unknown"
    most = 1 + design.COUNTER_INTEGRAL_INVALID_PERCENT / 100
    return "module" if counter.joules > most * integral else "board"


def _judge_joules(
    track: GpuTrack,
    joules: float,
    seconds: float,
    idle_watts: float | None,
    bears_out: float | None,
) -> Verdict:
    """Refuse energy that the board cannot have used.

    A limit is no physics: where a second way to the same energy `bears_out` what lies above the
    limit that was told, that is a flag.
    """
    uuid = track.gpu.uuid
    if seconds > 0:
        unlikely = gates.mean_power("gpu", uuid, joules / seconds, idle_watts, track.limit_watts)
        if unlikely is not None:
            off = None if bears_out is None else abs(bears_out - joules) / joules
            is_above = (unlikely.value or 0.0) > (unlikely.threshold or 0.0)
            agrees = off is not None and 100 * off <= design.COUNTER_INTEGRAL_FLAG_PERCENT
            return (None, unlikely) if is_above and agrees else (unlikely, None)
    text = f"{uuid}: {track.gpu.source} gives {joules:g} J"
    return (None if joules > 0 else Reason("no_value", text, "gpu", joules)), None


def _facts(track: GpuTrack, span: Span) -> dict[str, object]:
    """What stands in a record only of a GPU."""
    gpu, counter, vitals = track.gpu, track.counter, track.vitals
    return {
        "uuid": gpu.uuid,
        "index": gpu.index,
        "name": gpu.name,
        "scope": "board",
        "counter_joules": counter.joules if counter else None,
        "integral_joules": span.joules(track.power),
        "second_integral_joules": span.joules(track.second_power),
        "power_source": gpu.power_source,
        "power_avg_watts": track.power.mean_watts,
        "power_max_watts": track.power.high_watts,
        "power_min_watts": track.power.low_watts,
        "temp_avg_celsius": vitals["temperature_celsius"].value,
        "temp_max_celsius": vitals["temperature_celsius"].high,
        "util_avg_percent": vitals["utilization_percent"].value,
        "util_max_percent": vitals["utilization_percent"].high,
        "sm_clock_avg_mhz": vitals["sm_clock_mhz"].value,
        "memory_clock_avg_mhz": vitals["memory_clock_mhz"].value,
        "memory_used_max_mb": vitals["memory_used_mb"].high,
        "throttled_seconds": {
            cause.replace(" ", "_"): seconds for cause, seconds in track.throttled.items()
        },
        "limit_watts": track.limit_watts,
        "counter_samples": counter.samples if counter else 0,
        "failed_state_reads": track.failed_vitals,
        "slow_calls": track.slow_calls,
        "longest_call_seconds": track.longest_call_ns / NS,
    }
