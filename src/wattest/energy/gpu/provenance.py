"""Where the numbers of the GPUs come from, ready for a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from wattest.energy.gpu.nvml import FIELD_POWER_CAP, THROTTLE_FIELDS
from wattest.energy.gpu.track import GpuTrack
from wattest.energy.types import NS, Reason


@dataclass(frozen=True)
class GpuWindow:
    """The GPUs at the end of a window.

    Attributes:
        tracks: One per GPU.
        refusal: Why their energy cannot be added up; empty if it can.
        notes: What the reader should know of how they were chosen.
        opened_ns: The opening edge, monotonic.
        closed_ns: The closing edge, monotonic.
        low_watts: Least power of all boards together in one sample; None without a whole sample.
        high_watts: Greatest such power.
        idle_watts: Idle baselines by UUID.
    """

    tracks: Sequence[GpuTrack]
    refusal: str
    notes: Sequence[str]
    opened_ns: int
    closed_ns: int
    low_watts: float | None
    high_watts: float | None
    idle_watts: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return (self.closed_ns - self.opened_ns) / NS


@dataclass(frozen=True)
class JudgedGpu:
    """One GPU, judged.

    Attributes:
        track: What it did.
        joules: Its energy; None if refused.
        joules_until_failure: What was followed of it; None if the number stands.
        integral_joules: Its preferred power reading, integrated over the counter's span.
        second_integral_joules: Its second power reading, likewise; None if it has none.
        edge_joules: How far the edges may be off.
        faults: Why its energy is refused.
        flags: What the reader must know.
    """

    track: GpuTrack
    joules: float | None
    joules_until_failure: float | None
    integral_joules: float | None
    second_integral_joules: float | None
    edge_joules: float
    faults: tuple[Reason, ...]
    flags: tuple[Reason, ...]


def power_metrics(window: GpuWindow) -> dict[str, float | None]:
    """Mean, greatest and least power of all boards together; empty without whole samples.

    The mean is over time, from the first sample to the last, so that it lies between the others.
    """
    means = [track.power.mean_watts for track in window.tracks]
    known = [watts for watts in means if watts is not None]
    if len(known) < len(means) or window.low_watts is None:
        return {}
    return {
        "gpu_power_avg_watts": sum(known),
        "gpu_power_max_watts": window.high_watts,
        "gpu_power_min_watts": window.low_watts,
    }


def state_metrics(tracks: Sequence[GpuTrack]) -> dict[str, float | None]:
    """Temperature and utilisation: mean over time and GPUs, and the highest of any GPU.

    None unless every GPU told it up to the end: what stopped midway speaks for part of the window.
    """
    temperatures = [track.temperature for track in tracks]
    loads = [track.utilization for track in tracks]
    return {
        "gpu_temp_avg_celsius": _over_all([one.whole_mean for one in temperatures], fmean),
        "gpu_temp_max_celsius": _over_all([one.whole_high for one in temperatures], max),
        "gpu_util_avg_percent": _over_all([one.whole_mean for one in loads], fmean),
        "gpu_util_max_percent": _over_all([one.whole_high for one in loads], max),
    }


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _over_all(
    values: Sequence[float | None], combine: Callable[[Sequence[float]], float]
) -> float | None:
    known = _known(values)
    return combine(known) if known and len(known) == len(values) else None


def throttled_seconds(track: GpuTrack) -> dict[str, float | None]:
    """Time throttled within the window by cause; None where the driver does not tell."""
    return {name: track.throttled.get(field) for field, name in THROTTLE_FIELDS.items()}


def details_of(
    judged: Sequence[JudgedGpu], reason: str | None, energy_joules: float | None
) -> dict[str, object]:
    """Provenance of the domain."""
    sources = sorted({one.track.reader.gpu.source for one in judged})
    edge_joules = sum(one.edge_joules for one in judged)
    counters = [one.track.counter for one in judged if one.track.counter is not None]
    integrals = _known([one.integral_joules for one in judged])
    partial = _known([one.joules_until_failure for one in judged])
    return {
        "source": " + ".join(sources) or None,
        "reason": reason,
        "uuids": [one.track.reader.gpu.uuid for one in judged],
        "gpus": [_one(one) for one in judged],
        "counter_joules": (
            sum(counter.joules for counter in counters)
            if counters and len(counters) == len(judged)
            else None
        ),
        "integral_joules": sum(integrals) if integrals and len(integrals) == len(judged) else None,
        "joules_until_failure": sum(partial) if partial else None,
        "samples": min((one.track.power.samples for one in judged), default=0),
        "failed_reads": sum(_failed(one.track) for one in judged),
        "wraps": 0,
        "longest_gap_seconds": max((_gap_seconds(one.track) for one in judged), default=None),
        "update_period_seconds": max(_known([_period(one.track) for one in judged]), default=None),
        "resolution_joules": max(_known([_resolution(one.track) for one in judged]), default=None),
        "edge_uncertainty_joules": edge_joules,
        "edge_uncertainty_percent": 100 * edge_joules / energy_joules if energy_joules else None,
    }


def _one(judged: JudgedGpu) -> dict[str, object]:
    track, gpu = judged.track, judged.track.reader.gpu
    return {
        "uuid": gpu.uuid,
        "index": gpu.index,
        "name": gpu.name,
        "source": gpu.source,
        "scope": "board",
        "joules": judged.joules,
        "joules_until_failure": judged.joules_until_failure,
        "counter_joules": track.counter.joules if track.counter else None,
        "integral_joules": judged.integral_joules,
        "second_integral_joules": judged.second_integral_joules,
        "power_source": gpu.power_source,
        **_state(track),
        "limit_watts": gpu.limit_watts,
        "update_period_seconds": _period(track),
        "resolution_joules": _resolution(track),
        "edge_uncertainty_joules": judged.edge_joules,
        "samples": track.power.samples,
        "counter_samples": track.counter.samples if track.counter else 0,
        "failed_reads": _failed(track),
        "failed_state_reads": track.failed_vitals,
        "longest_gap_seconds": _gap_seconds(track),
        "slow_calls": track.slow_calls,
        "longest_call_seconds": track.longest_call_ns / NS,
        "faults": [fault.text for fault in judged.faults],
    }


def _state(track: GpuTrack) -> dict[str, object]:
    return {
        "power_avg_watts": track.power.mean_watts,
        "power_max_watts": track.power.high_watts,
        "power_min_watts": track.power.low_watts,
        "temp_avg_celsius": track.temperature.value,
        "temp_max_celsius": track.temperature.high,
        "util_avg_percent": track.utilization.value,
        "util_max_percent": track.utilization.high,
        "sm_clock_avg_mhz": track.sm_clock.value,
        "memory_clock_avg_mhz": track.memory_clock.value,
        "memory_used_max_mb": track.memory_used.high,
        "throttled_seconds": {
            "power_cap": track.throttled.get(FIELD_POWER_CAP),
            **{
                name.replace(" ", "_"): seconds
                for name, seconds in throttled_seconds(track).items()
            },
        },
    }


def _failed(track: GpuTrack) -> int:
    return track.failed_power_reads + (track.counter.failed if track.counter else 0)


def _period(track: GpuTrack) -> float | None:
    probed = track.reader.gpu.probed
    return probed.period_seconds if probed else None


def _resolution(track: GpuTrack) -> float | None:
    """Smallest step of its counter seen in the probe, joules; None if it did not move."""
    probed = track.reader.gpu.probed
    if track.counter is None or probed is None or probed.step_counts is None:
        return None
    return probed.step_counts * track.counter.spec.joules_per_count


def _gap_seconds(track: GpuTrack) -> float:
    if track.counter and not track.reader.gpu.has_power:
        return track.counter.longest_gap_ns / NS
    return track.power.longest_gap_ns / NS
