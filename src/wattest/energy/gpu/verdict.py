"""The verdict on one GPU of one window, and its provenance."""

from __future__ import annotations

from dataclasses import dataclass

from wattest.energy.gates import (
    Verdict,
    compare_readings,
    counter_against_integral,
    integral_gap,
    mean_power,
    second_reading_gap,
    throttling,
    too_few_periods,
)
from wattest.energy.gpu.nvml import AVERAGE_SECONDS, FIELD_POWER_CAP, THROTTLE_FIELDS
from wattest.energy.gpu.track import GpuTrack, Integral
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
    counter, span = track.counter, _span(track, window)
    if counter is not None:
        verdicts = _judge_counter(counter, track, span)
        joules = None if counter.opened_ns is None else counter.joules
        edge_joules = counter.edge_joules(track.power.high_watts or 0.0)
    else:
        verdicts = _judge_integral(track, span)
        joules = span.joules(track.power)
        edge_joules = 2 * span.period_seconds * (track.power.high_watts or 0.0)
        edge_joules += _lag_joules(track.power) if track.gpu.averages_power else 0.0
    faults = tuple(fault for fault, _ in verdicts if fault is not None)
    if joules is not None and not faults:
        faults = _judge_joules(track, joules, span, idle_watts)
    return Part(
        name=track.gpu.uuid,
        joules=None if faults else joules,
        joules_until_failure=joules if faults else None,
        samples=track.power.samples,
        failed_reads=track.failed_power_reads + (counter.failed if counter else 0),
        longest_gap_seconds=_longest_gap_ns(track) / NS,
        update_period_seconds=counter.counter.period_seconds if counter else None,
        resolution_joules=counter.counter.resolution_joules if counter else None,
        edge_uncertainty_joules=edge_joules,
        facts={**_facts(track, span), "faults": [fault.text for fault in faults]},
        faults=faults,
        flags=(
            *(flag for _, flag in verdicts if flag is not None),
            *throttling(track.gpu.uuid, _throttled_seconds(track)),
        ),
    )


def _span(track: GpuTrack, window: Span) -> Span:
    """From the counter's opening reading to its closing one, which the integral must match."""
    counter = track.counter
    if counter is None or counter.opened_ns is None:
        return window
    closed_ns = counter.opened_ns + int(counter.span_seconds * NS)
    return Span(counter.opened_ns, closed_ns, window.period_seconds)


def _judge_counter(counter: CounterTrack, track: GpuTrack, span: Span) -> list[Verdict]:
    """Judge a counter, beside both integrals of power."""
    if counter.fault is not None:
        return [(counter.fault, None)]
    flags: list[Verdict] = [(None, flag) for flag in counter.flags]
    label = counter.counter.label
    short = too_few_periods("gpu", label, counter.span_seconds, counter.period_seconds)
    first, second = span.joules(track.power), span.joules(track.second_power)
    if short is not None or first is None:
        return [*flags, (short, None)]
    opinion = None if second is None else (second, _lag_joules(track.second_power))
    return [*flags, counter_against_integral(label, counter.joules, first, opinion)]


def _judge_integral(track: GpuTrack, window: Span) -> list[Verdict]:
    """Judge integrated power, where there is no counter."""
    uuid = track.gpu.uuid
    if track.power_lost_ns is not None or track.power.first_ns is None:
        lost_ns = window.closed_ns - (track.power_lost_ns or window.closed_ns)
        text = f"no power reading at the closing edge; lost {max(0, lost_ns) / NS:.1f} s before the"
        text = f"{uuid}: {text} end: {track.power_failure}"
        return [(Reason("source_lost", text, "gpu"), None)]
    short = too_few_periods("gpu", uuid, window.seconds, window.period_seconds)
    if short is not None:
        return [(short, None)]
    gap_seconds = window.gap_seconds(track.power)
    gap = integral_gap(uuid, gap_seconds, window.seconds, window.period_seconds)
    return [gap, _judge_second_reading(track, window)]


def _judge_second_reading(track: GpuTrack, window: Span) -> Verdict:
    """Compare both readings of power; nothing to say where there is but one."""
    first, second = window.joules(track.power), window.joules(track.second_power)
    if first is None or second is None:
        return None, None
    gap_seconds = window.gap_seconds(track.second_power)
    missing = second_reading_gap(track.gpu.uuid, gap_seconds, window.seconds)
    if missing is not None:
        return None, missing
    lag_joules = _lag_joules(track.second_power)
    doubt_joules = lag_joules + window.period_seconds * track.power.range_watts
    return compare_readings(track.gpu.uuid, first, second, doubt_joules)


def _lag_joules(average: Integral) -> float:
    """How far a running average, integrated, may lag behind: half its span at each edge."""
    return average.range_watts * AVERAGE_SECONDS / 2


def _judge_joules(
    track: GpuTrack, joules: float, span: Span, idle_watts: float | None
) -> tuple[Reason, ...]:
    """Refuse energy that the board cannot have used."""
    gpu = track.gpu
    unlikely = None
    if span.seconds > 0:
        watts = joules / span.seconds
        unlikely = mean_power("gpu", gpu.uuid, watts, idle_watts, gpu.limit_watts)
    if unlikely is not None:
        return (unlikely,)
    if joules > 0:
        return ()
    return (Reason("no_value", f"{gpu.uuid}: {gpu.source} gives {joules:g} J", "gpu", joules),)


def _longest_gap_ns(track: GpuTrack) -> int:
    if track.counter is not None and track.gpu.read_power is None:
        return track.counter.longest_gap_ns
    return track.power.longest_gap_ns


def _throttled_seconds(track: GpuTrack) -> dict[str, float | None]:
    """Time throttled within the window by cause; None where the driver does not tell."""
    return {name: track.throttled.get(field) for field, name in THROTTLE_FIELDS.items()}


def _facts(track: GpuTrack, span: Span) -> dict[str, object]:
    """What stands in a record only of a GPU."""
    gpu, counter, vitals = track.gpu, track.counter, track.vitals
    causes = _throttled_seconds(track).items()
    return {
        "uuid": gpu.uuid,
        "index": gpu.index,
        "name": gpu.name,
        "source": gpu.source,
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
            "power_cap": track.throttled.get(FIELD_POWER_CAP),
            **{name.replace(" ", "_"): seconds for name, seconds in causes},
        },
        "limit_watts": gpu.limit_watts,
        "counter_samples": counter.samples if counter else 0,
        "failed_state_reads": track.failed_vitals,
        "slow_calls": track.slow_calls,
        "longest_call_seconds": track.longest_call_ns / NS,
    }
