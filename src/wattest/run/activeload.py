"""The background loops of one experiment while they run: watched, and judged over the window."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from wattest.errors import LoadError, ProcessError
from wattest.process import LoopStatus
from wattest.run.liveness import LOOK_SECONDS, MINIMUM_DUTY, alive_share, is_idle, seconds_between
from wattest.run.running import LoadWindow, RunningLoad, called

_LOOK_NS = int(LOOK_SECONDS * 1e9)
_States = tuple[LoopStatus, ...]


@dataclass
class ActiveLoad:
    """All background loops of one experiment, as its foreground sees them; none where it has none.

    `opened` and `closed` are their states at the edges of the window; what was not read is empty.
    """

    loops: list[RunningLoad] = field(default_factory=list)
    opened: _States = ()
    closed: _States = ()
    _looked: _States = ()
    _look_ns: int = 0

    def filenos(self) -> list[int]:
        """Return descriptors that become readable when a loop has news."""
        return [one.loop.fileno() for one in self.loops]

    def pids(self) -> set[int]:
        """Return all live processes of all loops."""
        return {pid for one in self.loops for pid in one.loop.pids()}

    def current_run(self) -> int | None:
        """Return the number of the first loop's present run; None where it does not answer."""
        with suppress(ProcessError):
            return self.loops[0].loop.status().current_run if self.loops else None
        return None

    def statuses(self) -> _States:
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
        return _first(one.check() for one in self.loops)

    def open_window(self) -> None:
        """Read the opening edge; raises as `statuses` does."""
        self.closed = ()
        for one in self.loops:
            one.window = None
        self.opened = self._looked = self.statuses()
        self._look_ns = time.monotonic_ns() + _LOOK_NS

    def watch(self) -> str | None:
        """Return why the load is no load any more; every two seconds its loops are looked at."""
        if not self.loops:
            return None
        now_ns = time.monotonic_ns()
        if (trouble := self.check()) is not None or now_ns < self._look_ns:
            return trouble
        self._look_ns = now_ns + _LOOK_NS
        try:
            before, self._looked = self._looked, self.statuses()
        except LoadError as error:
            return str(error)
        looks = zip(self.loops, self.opened, before, self._looked, strict=True)
        return _first(one.falls_short(*states) for one, *states in looks)

    def close_window(self, edges_ns: tuple[int, int] | None = None) -> None:
        """Read the closing edge; raises as `statuses` does.

        `edges_ns` are the opening and the closing edge of the energy, on the monotonic clock.
        """
        self.closed = self.statuses()
        for one, before, after in zip(self.loops, self.opened, self.closed, strict=True):
            one.window = LoadWindow(
                alive_share=alive_share(before, after),
                cpu_seconds=after.cpu_seconds - before.cpu_seconds,
                runs_completed=after.runs_completed - before.runs_completed,
                restarts=after.runs_started - before.runs_started,
                failures=after.failures - before.failures,
                **one.told_between(
                    *(edges_ns or (before.now_ns, after.now_ns)), after.runs_started
                ),
            )

    def judge(self) -> tuple[list[str], list[str]]:
        """Return (faults, flags) of the window in words."""
        faults: list[str] = []
        flags: list[str] = []
        for one, before, after in zip(self.loops, self.opened, self.closed, strict=False):
            share, seconds = alive_share(before, after), seconds_between(before, after)
            if share < MINIMUM_DUTY:
                told = f"{share:.1%} of the window (below {MINIMUM_DUTY:.0%})"
                faults.append(one.explain(f"was alive for {told}"))
            elif trouble := one.stands_still(before, after):
                faults.append(trouble)
            elif is_idle(before, after):
                used = f"{after.cpu_seconds - before.cpu_seconds:.2f} s of CPU in {seconds:.1f} s"
                flags.append(f"{called(one.training)} used only {used}: it hardly was a load")
        return faults, flags


def _first(troubles: Iterator[str | None]) -> str | None:
    return next((trouble for trouble in troubles if trouble is not None), None)
