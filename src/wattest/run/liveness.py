"""When a background load is one: alive, at work, and not starved; the rules and their values."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from wattest.process import LoopStatus

# A load that is up for less than this share of the window was not the load of the label.
MINIMUM_DUTY = 0.9
# Below this share of one core, over a window long enough to tell, a load is hardly one.
IDLE_CPU_SHARE = 0.01
IDLE_WINDOW_SECONDS = 1.0
# An idle load whose threads waited for a CPU for this share of the time wanted to run: starved.
STARVED_WAIT_SHARE = 0.5
# A shorter time than this says nothing of the share in which a load is alive.
LEAST_JUDGED_SECONDS = 2.0
# A load whose ready_pattern has not appeared after so long will not become ready.
READY_LIMIT_SECONDS = 300.0
# How often a load is looked at within the window.
LOOK_SECONDS = 2.0
LOAD_THRESHOLDS = {
    "load_alive_share_min": MINIMUM_DUTY,
    "load_idle_cpu_share_flag": IDLE_CPU_SHARE,
    "load_idle_window_seconds": IDLE_WINDOW_SECONDS,
    "load_starved_wait_share": STARVED_WAIT_SHARE,
    "load_least_judged_seconds": LEAST_JUDGED_SECONDS,
    "load_ready_limit_seconds": READY_LIMIT_SECONDS,
    "load_look_seconds": LOOK_SECONDS,
}


def seconds_between(before: LoopStatus, after: LoopStatus) -> float:
    """Return the time between two states of a loop."""
    return (after.now_ns - before.now_ns) / 1e9


def alive_share(before: LoopStatus, after: LoopStatus) -> float:
    """Return the share of the time between two states (0 to 1) in which a run was alive."""
    window_ns = max(after.now_ns - before.now_ns, 1)
    return min(1.0, (after.alive_ns - before.alive_ns) / window_ns)


def is_idle(before: LoopStatus, after: LoopStatus) -> bool:
    """Tell whether a loop used hardly any CPU time between two looks far enough apart to tell."""
    seconds = seconds_between(before, after)
    used_seconds = after.cpu_seconds - before.cpu_seconds
    return seconds >= IDLE_WINDOW_SECONDS and used_seconds < IDLE_CPU_SHARE * seconds


def is_stopped(pids: Sequence[int], some: bool) -> bool:
    """Tell whether all processes (with `some`: any) are stopped by a signal or a tracer."""
    texts = [text for pid in pids for text in _read(pid, "stat")]
    stopped = [text.rpartition(")")[2].split()[0] in "Tt" for text in texts]
    return any(stopped) if some else bool(stopped) and all(stopped)


def run_delay_seconds(pids: Sequence[int]) -> float:
    """Return how long all threads together have been ready to run and waited for a CPU.

    It is the second field of /proc/PID/task/TID/schedstat; 0 where the kernel keeps none.
    """
    texts = [text for pid in pids for text in _read(pid, "task/*/schedstat")]
    return sum(int(text.split()[1]) for text in texts) / 1e9


def _read(pid: int, pattern: str) -> list[str]:
    """Return the files of a process that match and are still there."""
    found = []
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{pid}").glob(pattern):
            with contextlib.suppress(OSError):
                found.append(path.read_text(encoding="utf-8", errors="replace"))
    return found
