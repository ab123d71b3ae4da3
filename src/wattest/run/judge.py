"""The background loops of one experiment while they run: watched, and judged over the window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wattest.errors import LoadError, ProcessError
from wattest.process import LoopStatus
from wattest.run.running import (
    RunningLoad,
    alive_share,
    called,
    describe,
    explain_failure,
    is_stopped,
    run_delay_seconds,
    window_report,
)

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


@dataclass(frozen=True)
class LoadEdge:
    """The cumulative state of every background loop at one edge of a window."""

    statuses: tuple[LoopStatus, ...]


class ActiveLoad:
    """The background loops of one experiment while they run."""

    def __init__(self, running: list[RunningLoad]) -> None:
        self._running = running

    def filenos(self) -> list[int]:
        """Return descriptors that become readable when a loop has news."""
        return [one.loop.fileno() for one in self._running]

    def pids(self) -> set[int]:
        """Return all live processes of all loops."""
        return {pid for one in self._running for pid in one.loop.pids()}

    def current_run(self) -> int | None:
        """Return the number of the first loop's present run; None where it does not answer."""
        try:
            return self._running[0].loop.status().current_run if self._running else None
        except ProcessError:
            return None

    def check(self) -> str | None:
        """Return why the load is no load any more, with its last lines; None while all is well."""
        for one in self._running:
            try:
                news = one.loop.poll()
            except ProcessError as error:
                return f"{called(one.training)}: {error}"
            if news is not None:
                return explain_failure(one, news)
        return None

    def edge(self) -> LoadEdge:
        """Read the cumulative state of every loop.

        Raises:
            LoadError: a loop does not answer any more.
        """
        try:
            return LoadEdge(tuple(one.loop.status() for one in self._running))
        except ProcessError as error:
            raise LoadError(f"background load does not answer: {error}") from error

    def falls_short(self, opened: LoadEdge, last: LoadEdge, now: LoadEdge) -> str | None:
        """Return why the load is none any more, if it is none.

        It was too seldom alive since the window was opened; or since the last look it was stopped,
        or got no CPU time although it wanted some.
        """
        edges = zip(self._running, opened.statuses, last.statuses, now.statuses, strict=True)
        for one, first, before, after in edges:
            seconds = (after.now_ns - first.now_ns) / 1e9
            share = alive_share(first, after)
            if seconds >= LEAST_JUDGED_SECONDS and share < MINIMUM_DUTY:
                text = f"was alive for only {share:.1%} of the first {seconds:.0f} s"
                return explain_failure(one, text)
            if trouble := _stands_still(one, before, after):
                return trouble
        return None

    def judge(self, opened: LoadEdge, closed: LoadEdge) -> tuple[list[str], list[str]]:
        """Keep a report of the window and return (faults, flags) in words."""
        faults: list[str] = []
        flags: list[str] = []
        for one, before, after in zip(self._running, opened.statuses, closed.statuses, strict=True):
            one.report = report = window_report(before, after)
            if report.alive_share < MINIMUM_DUTY:
                share = f"{report.alive_share:.1%} of the window (below {MINIMUM_DUTY:.0%})"
                faults.append(explain_failure(one, f"was alive for {share}"))
            elif trouble := _stands_still(one, before, after):
                faults.append(trouble)
            elif _is_idle(before, after):
                window_seconds = (after.now_ns - before.now_ns) / 1e9
                used = f"{report.cpu_seconds:.2f} s of CPU in {window_seconds:.1f} s"
                name = called(one.training)
                flags.append(f"{name} used only {used}: it hardly was a load")
        return faults, flags

    def cpu_seconds(self, opened: LoadEdge, closed: LoadEdge) -> float:
        """Return the CPU time of all loops between two edges, in seconds."""
        pairs = zip(opened.statuses, closed.statuses, strict=True)
        return sum(after.cpu_seconds - before.cpu_seconds for before, after in pairs)

    def describe(self) -> list[dict[str, Any]]:
        """Return `background_info` for every loop, in the order of the settings."""
        return [describe(one) for one in self._running]


def _is_idle(before: LoopStatus, after: LoopStatus) -> bool:
    """Tell whether a loop used hardly any CPU time between two looks far enough apart to tell."""
    seconds = (after.now_ns - before.now_ns) / 1e9
    used_seconds = after.cpu_seconds - before.cpu_seconds
    return seconds >= IDLE_WINDOW_SECONDS and used_seconds < IDLE_CPU_SHARE * seconds


def _stands_still(one: RunningLoad, before: LoopStatus, after: LoopStatus) -> str | None:
    """Return why a loop did nothing although it had something to do; None for one that rests."""
    idle = _is_idle(before, after)
    name = called(one.training)
    try:
        pids = one.loop.pids()
    except ProcessError as error:
        return f"{name}: {error}"
    if is_stopped(pids, some=idle):
        return f"{name} was stopped (state T): it loaded nothing"
    earlier, one.waited = one.waited, (after.now_ns, run_delay_seconds(pids)) if idle else None
    if earlier is None or one.waited is None:
        return None
    seconds, waited_seconds = (after.now_ns - earlier[0]) / 1e9, one.waited[1] - earlier[1]
    if waited_seconds < STARVED_WAIT_SHARE * seconds:
        return None
    return (
        f"{name} was starved: in {seconds:.1f} s it was ready to run for {waited_seconds:.1f} s"
        " and got hardly any CPU time"
    )
