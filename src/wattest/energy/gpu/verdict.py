"""The verdict on the GPUs of one window, each and together."""

from __future__ import annotations

from wattest.energy import design
from wattest.energy.counter import CounterTrack
from wattest.energy.gates import (
    counter_against_integral,
    mean_power,
    sampling,
    throttling,
    too_few_periods,
)
from wattest.energy.gpu.nvml import AVERAGE_SECONDS
from wattest.energy.gpu.provenance import (
    GpuWindow,
    JudgedGpu,
    details_of,
    power_metrics,
    state_metrics,
    throttled_seconds,
)
from wattest.energy.gpu.track import GpuTrack, Integral
from wattest.energy.schedule import Schedule
from wattest.energy.types import NS, DomainResult, Reason

Verdict = tuple[list[Reason], list[Reason]]
"""Faults and flags."""


def judge_gpus(window: GpuWindow, schedule: Schedule) -> DomainResult:
    """Judge each GPU and add them up, or say why that may not be done."""
    ones = [_judge(track, window, schedule) for track in window.tracks]
    faults = tuple(fault for one in ones for fault in one.faults)
    flags = tuple(flag for one in ones for flag in one.flags)
    gap_ns = max((track.power.longest_gap_ns for track in window.tracks), default=0)
    flags += sampling("gpu", "gpu", schedule, gap_ns / NS)
    flags += tuple(Reason("gpu_choice", note, "gpu") for note in window.notes)
    metrics = state_metrics(window.tracks)
    if window.refusal or not ones:
        reason = window.refusal or "no GPU is visible"
        details = details_of(ones, reason, None)
        return DomainResult("gpu", "unavailable", None, details, (), flags, metrics)
    if faults:
        details = details_of(ones, "; ".join(fault.text for fault in faults), None)
        return DomainResult("gpu", "invalid", None, details, faults, flags, metrics)
    energy = sum(one.joules for one in ones if one.joules is not None)
    metrics.update(power_metrics(window))
    return DomainResult(
        "gpu", "measured", energy, details_of(ones, None, energy), (), flags, metrics
    )


def _judge(track: GpuTrack, window: GpuWindow, schedule: Schedule) -> JudgedGpu:
    gpu = track.reader.gpu
    start_ns, end_ns = _span(track, window)
    first = track.power.over(start_ns, end_ns)
    second = track.second_power.over(start_ns, end_ns)
    if track.counter is not None:
        faults, flags = _judge_counter(track.counter, track, first, second)
        joules: float | None = track.counter.joules if track.counter.opened_ns is not None else None
        edge_joules = track.counter.edge_joules(track.power.high_watts or 0.0)
    else:
        faults, flags = _judge_integral(track, window, schedule)
        joules = first
        edge_joules = 2e-9 * schedule.period_ns * (track.power.high_watts or 0.0)
        if gpu.averages_power:
            edge_joules += _lag_joules(track.power)
    if joules is not None and not faults and window.seconds > 0:
        watts, idle = joules / ((end_ns - start_ns) / NS), window.idle_watts.get(gpu.uuid)
        unlikely = mean_power("gpu", gpu.uuid, watts, idle, gpu.limit_watts)
        faults += [unlikely] if unlikely else []
    if joules is not None and not faults and not joules > 0:
        faults = [Reason("no_value", f"{gpu.uuid}: {gpu.source} gives {joules:g} J", "gpu", joules)]
    flags += throttling(gpu.uuid, throttled_seconds(track))
    return JudgedGpu(
        track=track,
        joules=None if faults else joules,
        joules_until_failure=joules if faults else None,
        integral_joules=first,
        second_integral_joules=second,
        edge_joules=edge_joules,
        faults=tuple(faults),
        flags=tuple(flags),
    )


def _span(track: GpuTrack, window: GpuWindow) -> tuple[int, int]:
    """From the counter's opening reading to its closing one, which the integral must match."""
    counter = track.counter
    if counter is None or counter.opened_ns is None:
        return window.opened_ns, window.closed_ns
    return counter.opened_ns, counter.opened_ns + int(counter.span_seconds * NS)


def _judge_counter(
    counter: CounterTrack,
    track: GpuTrack,
    first: float | None,
    second: float | None,
) -> Verdict:
    """Judge a counter, beside both integrals in joules."""
    if counter.fault:
        return [counter.fault], []
    flags = list(counter.flags())
    spec = counter.spec
    short = too_few_periods("gpu", spec.label, counter.span_seconds, counter.period_seconds)
    if short:
        return [short], flags
    if first is None:
        return [], flags
    opinion = None if second is None else (second, _lag_joules(track.second_power))
    fault, flag = counter_against_integral(spec.label, counter.joules, first, opinion)
    return [fault] if fault else [], [*flags, flag] if flag else flags


def _lag_joules(average: Integral) -> float:
    """How far a running average, integrated, may lag behind: half its span at each edge."""
    return _range_watts(average) * AVERAGE_SECONDS / 2


def _range_watts(power: Integral) -> float:
    high, low = power.high_watts, power.low_watts
    return 0.0 if high is None or low is None else high - low


def _judge_integral(track: GpuTrack, window: GpuWindow, schedule: Schedule) -> Verdict:
    """Judge integrated power, where there is no counter."""
    uuid = track.reader.gpu.uuid
    if track.power_lost_ns is not None or track.power.first_ns is None:
        lost_ns = window.closed_ns - (track.power_lost_ns or window.closed_ns)
        text = f"no power reading at the closing edge; lost {max(0, lost_ns) / NS:.1f} s before the"
        return [Reason("source_lost", f"{uuid}: {text} end: {track.power_failure}", "gpu")], []
    period_seconds = schedule.period_ns / NS
    short = too_few_periods("gpu", uuid, window.seconds, period_seconds)
    if short:
        return [short], []
    gap_seconds = track.power.gap_ns(window.opened_ns, window.closed_ns) / NS
    gaps = integral_gap(uuid, gap_seconds, window.seconds, period_seconds)
    powers = _compare_readings(track, window, period_seconds)
    verdicts = (gaps, powers)
    return [fault for fault, _ in verdicts if fault], [flag for _, flag in verdicts if flag]


def _compare_readings(
    track: GpuTrack, window: GpuWindow, period_seconds: float
) -> tuple[Reason | None, Reason | None]:
    """Compare both readings of power, as (fault, flag); nothing to say where there is but one."""
    uuid, edges = track.reader.gpu.uuid, (window.opened_ns, window.closed_ns)
    first, second = track.power.over(*edges), track.second_power.over(*edges)
    if first is None or second is None:
        return None, None
    share = 100 * track.second_power.gap_ns(*edges) / NS / window.seconds
    most = design.INTEGRAL_GAP_INVALID_PERCENT
    if share > most:
        text = f"{uuid}: its second power reading misses {share:.1f} % of the window: not compared"
        return None, Reason("power_readings", text, "gpu", share, most)
    doubt_joules = _lag_joules(track.second_power) + period_seconds * _range_watts(track.power)
    return power_readings(uuid, first, second, doubt_joules)


def integral_gap(
    label: str,
    gap_seconds: float,
    window_seconds: float,
    period_seconds: float,
) -> tuple[Reason | None, Reason | None]:
    """Judge the longest time without a power reading, as (fault, flag).

    A gap is one that exceeds the nominal period by half of it.
    """
    most = design.INTEGRAL_GAP_INVALID_PERCENT
    least, share = design.INTEGRAL_GAP_FLAG_PERCENT, 100 * gap_seconds / window_seconds
    text = f"{label}: {gap_seconds:.2f} s without a power reading"
    if share > most:
        text += " cannot be integrated"
        return Reason("integral_gap", text, "gpu", share, most), None
    if share <= least or gap_seconds <= 1.5 * period_seconds:
        return None, None
    text += f", {share:.1f} % of the window, were bridged by a straight line"
    return None, Reason("integral_gap", text, "gpu", share, least)


def power_readings(
    label: str,
    first_joules: float,
    second_joules: float,
    doubt_joules: float,
) -> tuple[Reason | None, Reason | None]:
    """Compare the integrals of a GPU's two power readings, as (fault, flag).

    Args:
        label: The GPU.
        first_joules: Energy by the preferred reading, which looks at a part of the time only.
        second_joules: Energy by the running average, which cannot alias.
        doubt_joules: How far the two may differ without a fault, as the average lags behind.
    """
    base_joules = second_joules if second_joules > 0 else first_joules
    if base_joules <= 0:
        return None, None
    most = design.COUNTER_INTEGRAL_INVALID_PERCENT
    least = design.COUNTER_INTEGRAL_FLAG_PERCENT
    percent = 100 * (first_joules - second_joules) / base_joules
    sure_percent = abs(percent) - 100 * doubt_joules / base_joules
    text = f"{label}: aliasing: its two power readings disagree by {percent:+.1f} %"
    if sure_percent > most:
        return Reason("power_readings", text, "gpu", percent, most), None
    if sure_percent > least:
        return None, Reason("power_readings", text, "gpu", percent, least)
    return None, None
