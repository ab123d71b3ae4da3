"""Design values of measuring, all in one place: every record carries them.

Each is a choice of ours (a `[D]` value of the measurement rules), never a property of hardware. The
units stand in the names.
"""

from __future__ import annotations

# The gates.

COUNTER_INTEGRAL_FLAG_PERCENT = 3.0  # deviation of the integrated power from the counter to flag
COUNTER_INTEGRAL_INVALID_PERCENT = 10.0  # the same, at which the attempt is invalid
MEAN_POWER_IDLE_RATIO_MIN = 0.5  # least mean power, as a share of a known idle baseline
MEAN_POWER_LIMIT_RATIO_MAX = 1.1  # greatest mean power, as a share of a known power limit
SAMPLE_SHARE_FLAG_PERCENT = 95.0  # share of the expected samples below which we flag
SAMPLE_GAP_FLAG_SECONDS = 1.0  # longest time without a sample that passes unflagged
INTEGRAL_GAP_FLAG_PERCENT = 2.0  # share of the window without a power reading, to flag
INTEGRAL_GAP_INVALID_PERCENT = 10.0  # share of the window that integrated power may bridge
WINDOW_FLAG_SECONDS = 10.0  # windows shorter than this are flagged
WINDOW_REFUSE_PERIODS = 20.0  # windows of fewer counter periods give no number
THROTTLE_FLAG_SECONDS = 0.0  # thermal or hardware-brake throttling beyond this is flagged
OTHER_CPU_LOAD_FLAG_PERCENT = 5.0  # CPU load that is not ours, of the machine's capacity
STOLEN_TIME_FLAG_PERCENT = 5.0  # time that a hypervisor stole, of the machine's capacity
SLEEP_INVALID_SECONDS = 0.1  # a machine that slept longer within the window makes it invalid
WALL_CLOCK_FLAG_SECONDS = 1.0  # a step of the wall clock within the window to flag

# Following a counter. What stands still or pauses does so for that many seconds, or for that many
# of its own update periods, whichever is longer.

FROZEN_SECONDS = 0.9  # a counter that stands still this long at an edge is frozen
FROZEN_PERIODS = 10.0
PAUSE_SECONDS = 0.15  # one that does so within the window has paused, and must catch up
PAUSE_PERIODS = 3.0
FROZEN_LOSS_PERCENT = 0.5  # energy that pauses may have lost before the number is refused
EDGE_SLACK_FLAG_PERCENT = 3.0  # share of the window by which edge readings may miss it, to flag
EDGE_SLACK_INVALID_PERCENT = 10.0  # the same, at which the attempt is invalid
EDGE_RETRY_SECONDS = 0.1  # for how long a failed reading at an edge of the window is repeated
WRAP_POWER_WATTS = 1000.0  # of one zone: above it a fall is a reset, and a rise is a jump
WRAP_POWER_LIMIT_RATIO = 2.0  # the same as a multiple of the zone's own limit, if that is more
# Share of the range that plausible power may cross between two readings for a wrap to be told from
# a reset by power alone.
WRAP_RANGE_SHARE = 0.02
WRAP_DOUBT_PERCENT = 0.5  # energy in doubt, of the total, at which the number is refused
JUMP_POWER_WATTS = 5000.0  # power of one board above which an increase is a fault

# How often we look.

# Once a second would do for wraps, but a counter that stands still for less would pass unseen.
CPU_PERIOD_SECONDS = 0.4
# For ranges that wrap within seconds; above 20 Hz RAPL readings lose accuracy.
CPU_PERIOD_MIN_SECONDS = 0.05
CPU_LIMIT_PERIOD_SECONDS = 5.0  # between looks at the power limits, which a daemon may change
GPU_POWER_PERIOD_SECONDS = 0.1
GPU_COUNTER_PERIOD_SECONDS = 0.5
GPU_STATE_PERIOD_SECONDS = 1.0  # temperature, clocks, utilisation, memory
ASSUMED_GPU_PERIOD_SECONDS = 0.1  # update period of a GPU counter that did not move in the probe
SLOW_CALL_SECONDS = 0.05  # a driver call that takes longer is counted as slow
SEARCH_SECONDS = 0.2  # for how long the search for sensors watches counters
PROBE_SECONDS = 0.5  # … and all in all, where that was not enough, by the first window's opening
PROBE_SLOW_SECONDS = 2.2  # the same for counters that changed less than twice by then


def design_values() -> dict[str, float]:
    """Every value by its name in a record."""
    return {name.lower(): value for name, value in globals().items() if name.isupper()}
