"""SIGTERM and SIGHUP end a session in order, as Ctrl-C does: with teardown, record and report."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

_Handler = Callable[[int, FrameType | None], Any] | int | None


class OrderlySignals:
    """Turns the first SIGTERM or SIGHUP into a KeyboardInterrupt; later ones change nothing.

    A signal that the caller ignores (`nohup`) stays ignored.
    """

    def __init__(self) -> None:
        self._before: dict[int, _Handler] = {}
        self.received: str | None = None

    def install(self) -> None:
        """Take the signals; outside of the main thread nothing can be taken."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._interrupt)

    def restore(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            return
        self.received = signal.Signals(number).name
        if number == signal.SIGHUP:
            leave_terminal()
        raise KeyboardInterrupt(f"{self.received} received")


def leave_terminal() -> None:
    """Point every descriptor of a terminal to nowhere: after a hang-up each write would fail."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError, ValueError):
            descriptor = int(entry.name)
            if descriptor != nowhere and os.isatty(descriptor):
                os.dup2(nowhere, descriptor, inheritable=os.get_inheritable(descriptor))
    os.close(nowhere)
