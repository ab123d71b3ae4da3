"""The verdict on the GPUs of one window, each and together."""

from __future__ import annotations

from wattest.energy.base import NS, DomainResult, Reason
from wattest.energy.gates import (
    counter_against_integral,
    mean_power,
    sampling,
    throttling,
    too_few_periods,
)
from wattest.energy.gpu_provenance import (
    GpuWindow,
    JudgedGpu,
    details_of,
    power_metrics,
    state_metrics,
    throttled_seconds,
)
from wattest.energy.gpu_track import GpuTrack
from wattest.energy.nvml_api import AVERAGE_SECONDS
from wattest.energy.schedule import Schedule
from wattest.energy.thresholds import Thresholds


def judge_gpus(window: GpuWindow, schedule: Schedule, thresholds: Thresholds) -> DomainResult:
    """Judge each GPU and add them up, or say why that may not be done."""
    ones = [_judge(track, window, schedule, thresholds) for track in window.tracks]
    faults = tuple(fault for one in ones for fault in one.faults)
    flags = tuple(flag for one in ones for flag in one.flags)
    gap_ns = max((track.power.longest_gap_ns for track in window.tracks), default=0)
    flags += sampling("gpu", "gpu", schedule, gap_ns / NS, thresholds)
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


def _judge(
    track: GpuTrack, window: GpuWindow, schedule: Schedule, thresholds: Thresholds
) -> JudgedGpu:
    gpu = track.reader.gpu
    start_ns, end_ns = _span(track, window)
    first = track.power.over(start_ns, end_ns)
    second = track.second_power.over(start_ns, end_ns)
    flags = list(throttling(gpu.uuid, throttled_seconds(track), thresholds))
    if track.counter is not None:
        faults = _counter_faults(track, first, second, thresholds, flags)
        joules: float | None = track.counter.joules
        edge_joules = track.counter.edge_joules(track.power.high_watts or 0.0)
    else:
        faults = _integral_faults(track, window, schedule, thresholds)
        joules = first
        edge_joules = 2e-9 * schedule.period_ns * (track.power.high_watts or 0.0)
    if joules is not None and not faults and window.seconds > 0:
        watts, idle = joules / ((end_ns - start_ns) / NS), window.idle_watts.get(gpu.uuid)
        unlikely = mean_power("gpu", gpu.uuid, watts, idle, gpu.limit_watts, thresholds)
        faults += [unlikely] if unlikely else []
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


def _counter_faults(
    track: GpuTrack,
    first: float | None,
    second: float | None,
    thresholds: Thresholds,
    flags: list[Reason],
) -> list[Reason]:
    counter = track.counter
    if counter is None:
        return []
    if counter.fault:
        return [counter.fault]
    flags += counter.flags()
    spec = counter.spec
    short = too_few_periods(
        "gpu", spec.label, counter.span_seconds, spec.period_seconds, thresholds
    )
    if short:
        return [short]
    if first is None:
        return []
    opinion = None if second is None else (second, _lag_joules(track))
    fault, flag = counter_against_integral(spec.label, counter.joules, first, opinion, thresholds)
    flags += [flag] if flag else []
    return [fault] if fault else []


def _lag_joules(track: GpuTrack) -> float:
    """How far a running average, integrated, may lag behind: half its span at each edge."""
    high, low = track.second_power.high_watts, track.second_power.low_watts
    if high is None or low is None:
        return 0.0
    return (high - low) * AVERAGE_SECONDS / 2


def _integral_faults(
    track: GpuTrack, window: GpuWindow, schedule: Schedule, thresholds: Thresholds
) -> list[Reason]:
    """Why integrated power is no measurement, where there is no counter."""
    uuid = track.reader.gpu.uuid
    if track.power_lost_ns is not None or track.power.first_ns is None:
        lost_ns = window.closed_ns - (track.power_lost_ns or window.closed_ns)
        text = f"no power reading at the closing edge; lost {max(0, lost_ns) / NS:.1f} s before the"
        return [Reason("source_lost", f"{uuid}: {text} end: {track.power_failure}", "gpu")]
    short = too_few_periods("gpu", uuid, window.seconds, schedule.period_ns / NS, thresholds)
    if short:
        return [short]
    gap_seconds = track.power.longest_gap_ns / NS
    share, most = 100 * gap_seconds / window.seconds, thresholds.integral_gap_invalid_percent
    if share > most and gap_seconds > thresholds.sample_gap_flag_seconds:
        text = f"{uuid}: {gap_seconds:.1f} s without a power reading cannot be integrated"
        return [Reason("integral_gap", text, "gpu", share, most)]
    return []
