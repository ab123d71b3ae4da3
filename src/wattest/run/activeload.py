"""The background loops of one experiment while they run: watched, and judged over the window."""

from __future__ import annotations

import time
from typing import Any

from wattest.errors import LoadError, ProcessError
from wattest.process import LoopStatus
from wattest.run.liveness import LOOK_SECONDS, MINIMUM_DUTY, alive_share, is_idle, seconds_between
from wattest.run.running import LoadWindow, RunningLoad

_LOOK_NS = int(LOOK_SECONDS * 1e9)
Edge = tuple[LoopStatus, ...]


class ActiveLoad:
    """All background loops of one experiment while they run, as its foreground sees them."""

    def __init__(self) -> None:
        self.loops: list[RunningLoad] = []
        # The states of all loops at both edges of the window, and when they were looked at last.
        self._opened: Edge = ()
        self._looked: Edge = ()
        self._closed: Edge = ()
        self._look_ns = 0

    def filenos(self) -> list[int]:
        """Return descriptors that become readable when a loop has news."""
        return [one.loop.fileno() for one in self.loops]

    def pids(self) -> set[int]:
        """Return all live processes of all loops."""
        return {pid for one in self.loops for pid in one.loop.pids()}

    def current_run(self) -> int | None:
        """Return the number of the first loop's present run; None where it does not answer."""
        try:
            return self.loops[0].loop.status().current_run if self.loops else None
        except ProcessError:
            return None

    def statuses(self) -> Edge:
        """Return the cumulative state of every loop.

        Raises:
            LoadError: a loop does not answer any more.
        """
        try:
            return tuple(one.loop.status() for one in self.loops)
        except ProcessError as error:
            raise LoadError(f"background load does not answer: {error}") from error

    def check(self) -> str | None:
        """Return why the load is no load any more, as far as its loops have told by themselves."""
        return next((told for one in self.loops if (told := one.check()) is not None), None)

    def open_window(self) -> None:
        """Read the opening edge; raises as `statuses` does."""
        self._closed = ()
        self._opened = self._looked = self.statuses()
        self._look_ns = time.monotonic_ns() + _LOOK_NS

    def watch(self) -> str | None:
        """Return why the load is no load any more; every two seconds its loops are looked at."""
        now_ns = time.monotonic_ns()
        if (trouble := self.check()) is not None or now_ns < self._look_ns:
            return trouble
        self._look_ns = now_ns + _LOOK_NS
        try:
            before, self._looked = self._looked, self.statuses()
        except LoadError as error:
            return str(error)
        looks = zip(self.loops, self._opened, before, self._looked, strict=True)
        told = (one.falls_short(*statuses) for one, *statuses in looks)
        return next((trouble for trouble in told if trouble is not None), None)

    def close_window(self) -> None:
        """Read the closing edge; raises as `statuses` does, and then nothing is judged."""
        self._closed = self.statuses()
        for one, before, after in zip(self.loops, self._opened, self._closed, strict=True):
            one.window = LoadWindow(
                alive_share=alive_share(before, after),
                cpu_seconds=after.cpu_seconds - before.cpu_seconds,
                runs_completed=after.runs_completed - before.runs_completed,
                restarts=after.runs_started - before.runs_started,
                failures=after.failures - before.failures,
            )

    def judge(self) -> tuple[list[str], list[str]]:
        """Return (faults, flags) of the window in words; none where it was not closed."""
        faults: list[str] = []
        flags: list[str] = []
        for one, before, after in zip(self.loops, self._opened, self._closed, strict=False):
            share, seconds = alive_share(before, after), seconds_between(before, after)
            if share < MINIMUM_DUTY:
                told = f"{share:.1%} of the window (below {MINIMUM_DUTY:.0%})"
                faults.append(one.explain(f"was alive for {told}"))
            elif trouble := one.stands_still(before, after):
                faults.append(trouble)
            elif is_idle(before, after):
                used = f"{after.cpu_seconds - before.cpu_seconds:.2f} s of CPU in {seconds:.1f} s"
                flags.append(f"{one.called} used only {used}: it hardly was a load")
        return faults, flags

    def cpu_seconds(self) -> float:
        """Return the CPU time of all loops in the window; 0 where it was not closed."""
        edges = zip(self._opened, self._closed, strict=False)
        return sum(after.cpu_seconds - before.cpu_seconds for before, after in edges)

    def describe(self) -> list[dict[str, Any]]:
        """Return `background_info` for every loop, in the order of the settings."""
        return [one.describe() for one in self.loops]
