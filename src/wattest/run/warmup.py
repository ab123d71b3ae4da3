"""The load's warm-up on a GPU: wait until its power is steady, where a GPU tells."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wattest.energy import GpuState

STEADY_SAMPLES = 4
STEADY_SHARE = 0.05
BUSY_PERCENT = 1.0
LIMIT_SECONDS = 60.0
_PERIOD_SECONDS = 0.5


@dataclass(frozen=True)
class WarmUp:
    """What came of a warm-up: how long it took, and the mean power of all GPUs in the end."""

    waited_seconds: float
    gpu_busy: bool
    steady: bool
    power_watts: float
    steady_share: float = STEADY_SHARE
    limit_seconds: float = LIMIT_SECONDS


def warm_up(
    gpu_state: Callable[[], Sequence[GpuState]],
    check: Callable[[], None],
    limit_seconds: float = LIMIT_SECONDS,
    period_seconds: float = _PERIOD_SECONDS,
) -> WarmUp | None:
    """Wait until the board power of the visible GPUs is steady; return what came of it.

    Steady: the mean of the last four samples (two each second) lies within 5 % of the mean of the
    four before. A load that leaves the GPUs idle has no such warm-up, and one that is not steady
    after `limit_seconds` is recorded as such. None without a GPU. `check` raises where the load
    has died meanwhile.
    """
    powers: deque[float] = deque(maxlen=2 * STEADY_SAMPLES)
    began = time.monotonic()
    is_busy = False
    while True:
        check()
        states = gpu_state()
        watts = [state.power_watts for state in states if state.power_watts is not None]
        if not watts:
            return None
        powers.append(sum(watts))
        is_busy |= any((state.utilization_percent or 0.0) > BUSY_PERCENT for state in states)
        waited = time.monotonic() - began
        is_full = len(powers) == powers.maxlen
        if (is_full and (not is_busy or _is_steady(powers))) or waited >= limit_seconds:
            steady = is_full and is_busy and _is_steady(powers)
            power_watts = sum(powers) / len(powers)
            return WarmUp(waited, is_busy, steady, power_watts, limit_seconds=limit_seconds)
        time.sleep(period_seconds)


def _is_steady(powers: Sequence[float]) -> bool:
    before = sum(list(powers)[:STEADY_SAMPLES]) / STEADY_SAMPLES
    after = sum(list(powers)[-STEADY_SAMPLES:]) / STEADY_SAMPLES
    return abs(after - before) <= STEADY_SHARE * before
