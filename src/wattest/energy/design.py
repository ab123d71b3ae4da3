"""Design values of measuring, in one frozen place: every record that used them carries them.

Each is a choice of ours (a `[D]` value of the measurement rules), never a property of hardware.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Thresholds:
    """Where a gate flags or refuses, and how often we look; units stand in the names.

    Attributes:
        counter_integral_flag_percent: Deviation of the integrated power from the counter to flag.
        counter_integral_invalid_percent: The same deviation, at which the attempt is invalid.
        mean_power_idle_ratio_min: Least mean power, as a share of a known idle baseline.
        mean_power_limit_ratio_max: Greatest mean power, as a share of a known power limit.
        sample_share_flag_percent: Share of the expected samples below which we flag.
        sample_gap_flag_seconds: Longest time without a sample that passes unflagged.
        integral_gap_flag_percent: Share of the window without a power reading, to flag.
        integral_gap_invalid_percent: Share of the window that integrated power may bridge.
        window_flag_seconds: Windows shorter than this are flagged.
        window_refuse_periods: Windows of fewer counter periods give no number.
        throttle_flag_seconds: Thermal or hardware-brake throttling beyond this is flagged.
        other_cpu_load_flag_percent: CPU load that is not ours, of the machine's capacity.
        frozen_seconds: A counter that stands still this long at an edge is frozen …
        frozen_periods: … or this many of its own update periods, whichever is longer.
        pause_seconds: One that stands still this long, or `pause_periods`, within the window has
            paused, and must catch up.
        pause_periods: See `pause_seconds`.
        frozen_loss_percent: Energy that pauses may have lost before the number is refused.
        edge_slack_flag_percent: Share of the window by which the readings at the edges may miss
            them, to flag.
        edge_slack_invalid_percent: The same share, at which the attempt is invalid.
        edge_retry_seconds: For how long a failed reading at an edge of the window is repeated.
        wrap_power_watts: Power of one zone above which a decrease is no wrap but a reset, and an
            increase a jump.
        wrap_power_limit_ratio: The same as a multiple of the zone's own limit, if that is more.
        wrap_range_share: Share of the range that plausible power may cross between two readings
            for a wrap to be told from a reset by power alone.
        wrap_doubt_percent: Energy in doubt, of the total, at which the number is refused.
        jump_power_watts: Power of one board above which an increase is a fault.
        cpu_period_seconds: Time between readings of the CPU's counters: once a second would do
            for their wraps, but a counter that stands still for less would pass unseen.
        cpu_period_min_seconds: The least such time, for ranges that wrap within seconds
            (RAPL readings lose accuracy above 20 Hz).
        gpu_counter_period_seconds: Time between readings of a GPU's energy counter.
        gpu_state_period_seconds: Time between readings of temperature, clocks, utilisation, memory.
        assumed_gpu_period_seconds: Update period of a GPU counter that did not move in the probe.
        slow_call_seconds: A driver call that takes longer is counted as slow.
        probe_seconds: For how long update periods are inferred at the start of a session.
        probe_slow_seconds: The same for counters that changed less than twice by then.
        perf_interval_seconds: Interval at which `perf stat` reports.
    """

    counter_integral_flag_percent: float = 3.0
    counter_integral_invalid_percent: float = 10.0
    mean_power_idle_ratio_min: float = 0.5
    mean_power_limit_ratio_max: float = 1.1
    sample_share_flag_percent: float = 95.0
    sample_gap_flag_seconds: float = 1.0
    integral_gap_flag_percent: float = 2.0
    integral_gap_invalid_percent: float = 10.0
    window_flag_seconds: float = 10.0
    window_refuse_periods: float = 20.0
    throttle_flag_seconds: float = 0.0
    other_cpu_load_flag_percent: float = 5.0
    frozen_seconds: float = 0.9
    frozen_periods: float = 10.0
    pause_seconds: float = 0.15
    pause_periods: float = 3.0
    frozen_loss_percent: float = 0.5
    edge_slack_flag_percent: float = 3.0
    edge_slack_invalid_percent: float = 10.0
    edge_retry_seconds: float = 0.1
    wrap_power_watts: float = 1000.0
    wrap_power_limit_ratio: float = 2.0
    wrap_range_share: float = 0.02
    wrap_doubt_percent: float = 0.5
    jump_power_watts: float = 5000.0
    cpu_period_seconds: float = 0.4
    cpu_period_min_seconds: float = 0.05
    gpu_counter_period_seconds: float = 0.5
    gpu_state_period_seconds: float = 1.0
    assumed_gpu_period_seconds: float = 0.1
    slow_call_seconds: float = 0.05
    probe_seconds: float = 0.5
    probe_slow_seconds: float = 2.2
    perf_interval_seconds: float = 0.1

    def as_dict(self) -> dict[str, float]:
        """Every value by name, as a record stores them."""
        return asdict(self)
