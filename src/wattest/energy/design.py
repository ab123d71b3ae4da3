"""Design values of measuring, all in one place: every record carries them.

Each is a choice of ours (a `[D]` value of the measurement rules), never a property of hardware. The
units stand in the names.
"""

from __future__ import annotations

# The gates.

COUNTER_INTEGRAL_FLAG_PERCENT = 3.0
"""Deviation of the integrated power from the counter to flag."""
COUNTER_INTEGRAL_INVALID_PERCENT = 10.0
"""The same deviation, at which the attempt is invalid."""
MEAN_POWER_IDLE_RATIO_MIN = 0.5
"""Least mean power, as a share of a known idle baseline."""
MEAN_POWER_LIMIT_RATIO_MAX = 1.1
"""Greatest mean power, as a share of a known power limit."""
SAMPLE_SHARE_FLAG_PERCENT = 95.0
"""Share of the expected samples below which we flag."""
SAMPLE_GAP_FLAG_SECONDS = 1.0
"""Longest time without a sample that passes unflagged."""
INTEGRAL_GAP_FLAG_PERCENT = 2.0
"""Share of the window without a power reading, to flag."""
INTEGRAL_GAP_INVALID_PERCENT = 10.0
"""Share of the window that integrated power may bridge."""
WINDOW_FLAG_SECONDS = 10.0
"""Windows shorter than this are flagged."""
WINDOW_REFUSE_PERIODS = 20.0
"""Windows of fewer counter periods give no number."""
THROTTLE_FLAG_SECONDS = 0.0
"""Thermal or hardware-brake throttling beyond this is flagged."""
OTHER_CPU_LOAD_FLAG_PERCENT = 5.0
"""CPU load that is not ours, of the machine's capacity."""

# Following a counter.

FROZEN_SECONDS = 0.9
"""A counter that stands still this long at an edge is frozen …"""
FROZEN_PERIODS = 10.0
"""… or this many of its own update periods, whichever is longer."""
PAUSE_SECONDS = 0.15
"""One that stands still this long within the window has paused, and must catch up …"""
PAUSE_PERIODS = 3.0
"""… or this many of its own update periods, whichever is longer."""
FROZEN_LOSS_PERCENT = 0.5
"""Energy that pauses may have lost before the number is refused."""
EDGE_SLACK_FLAG_PERCENT = 3.0
"""Share of the window by which the readings at the edges may miss them, to flag."""
EDGE_SLACK_INVALID_PERCENT = 10.0
"""The same share, at which the attempt is invalid."""
EDGE_RETRY_SECONDS = 0.1
"""For how long a failed reading at an edge of the window is repeated."""
WRAP_POWER_WATTS = 1000.0
"""Power of one zone above which a decrease is no wrap but a reset, and an increase a jump."""
WRAP_POWER_LIMIT_RATIO = 2.0
"""The same as a multiple of the zone's own limit, if that is more."""
WRAP_RANGE_SHARE = 0.02
"""Share of the range that plausible power may cross between two readings for a wrap to be told
from a reset by power alone."""
WRAP_DOUBT_PERCENT = 0.5
"""Energy in doubt, of the total, at which the number is refused."""
JUMP_POWER_WATTS = 5000.0
"""Power of one board above which an increase is a fault."""

# How often we look.

CPU_PERIOD_SECONDS = 0.4
"""Time between readings of the CPU's counters: once a second would do for their wraps, but a
counter that stands still for less would pass unseen."""
CPU_PERIOD_MIN_SECONDS = 0.05
"""The least such time, for ranges that wrap within seconds (RAPL readings lose accuracy above
20 Hz)."""
GPU_POWER_PERIOD_SECONDS = 0.1
"""Time between readings of a GPU's power."""
GPU_COUNTER_PERIOD_SECONDS = 0.5
"""Time between readings of a GPU's energy counter."""
GPU_STATE_PERIOD_SECONDS = 1.0
"""Time between readings of temperature, clocks, utilisation, memory."""
ASSUMED_GPU_PERIOD_SECONDS = 0.1
"""Update period of a GPU counter that did not move in the probe."""
SLOW_CALL_SECONDS = 0.05
"""A driver call that takes longer is counted as slow."""
SEARCH_SECONDS = 0.2
"""For how long the search for sensors watches counters, to infer their update periods …"""
PROBE_SECONDS = 0.5
"""… and all in all, where that was not enough, by the time the first window opens."""
PROBE_SLOW_SECONDS = 2.2
"""The same for counters that changed less than twice by then."""


def design_values() -> dict[str, float]:
    """Every value by its name in a record."""
    return {name.lower(): value for name, value in globals().items() if name.isupper()}
