"""Time that passes as it is asked for: nobody waits, and no machine is too busy to be in time.

Stands in for the modules `time` and `select` where energy is measured. Whatever is slept or waited
for passes at once, each look at the clock takes a little, and what was to happen meanwhile happens
at its moment: a scene is over in milliseconds, and is the same each time.
"""

from __future__ import annotations

import ctypes
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

_LOOK_NS = 5_000
_MS = 1_000_000


class FakeTime:
    """A clock that stands still but for what is done with it."""

    CLOCK_BOOTTIME = time.CLOCK_BOOTTIME
    thread_time_ns = staticmethod(time.thread_time_ns)

    def __init__(self, now_ns: int = 1_000_000_000_000) -> None:
        self._cell = ctypes.c_longlong(now_ns)
        self._acts: list[Callable[[int], None]] = []
        self._wall_offset_ns = time.time_ns() - now_ns

    @property
    def now_ns(self) -> int:
        """What it shows, as CLOCK_MONOTONIC."""
        return self._cell.value

    def share(self, cell: ctypes.c_longlong) -> None:
        """Show what `cell` holds from now on, which others may see and move, too."""
        cell.value = self.now_ns
        self._cell = cell

    def pass_ns(self, nanoseconds: int) -> None:
        """Let time pass."""
        self._cell.value += max(0, nanoseconds)
        for act in self._acts:
            act(self.now_ns)

    def every(self, period_ns: int, act: Callable[[int], None]) -> None:
        """Do something every so often, with the time at which it is due."""
        due_ns = self.now_ns

        def catch_up(now_ns: int) -> None:
            nonlocal due_ns
            while due_ns <= now_ns:
                act(due_ns)
                due_ns += period_ns

        self._acts.append(catch_up)

    def monotonic_ns(self) -> int:
        """As that of `time`; to look takes 5 µs."""
        self.pass_ns(_LOOK_NS)
        return self.now_ns

    def time_ns(self) -> int:
        """As that of `time`."""
        return self.now_ns + self._wall_offset_ns

    def clock_gettime_ns(self, clock: int) -> int:
        """As that of `time`, of a machine that never slept."""
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.pass_ns(round(seconds * 1e9))

    def poll(self) -> SimpleNamespace:
        """As that of `select`, of descriptors that are never ready."""

        def wait(milliseconds: float) -> list[tuple[int, int]]:
            self.pass_ns(round(milliseconds * _MS))
            return []

        return SimpleNamespace(register=lambda *_: None, poll=wait)

    @contextmanager
    def everywhere(self) -> Iterator[None]:
        """Let whatever measures energy in this process live in this time."""
        found = [
            (module, name, real)
            for path, module in list(sys.modules.items())
            if path.startswith("wattest.energy")
            for name, real in (("time", time), ("select", select))
            if getattr(module, name, None) is real
        ]
        stand_ins = {"time": self, "select": SimpleNamespace(poll=self.poll, POLLIN=select.POLLIN)}
        for module, name, _ in found:
            setattr(module, name, stand_ins[name])
        try:
            yield
        finally:
            for module, name, real in found:
                setattr(module, name, real)
