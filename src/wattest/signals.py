"""Signals end a session in order: with teardown, record and report, as the first Ctrl-C does."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

_Handler = Callable[[int, FrameType | None], Any] | int | None
_STUCK_SECONDS = 5.0
_TAKEN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class OrderlySignals:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a KeyboardInterrupt.

    Later ones do not break into the clean-up. But a second SIGINT ends its `patience`, and one that
    comes five seconds after that breaks off whatever does not end. A signal that the caller ignores
    (`nohup`) stays ignored.
    """

    def __init__(self) -> None:
        self._before: dict[int, _Handler] = {}
        self._is_patient = False
        self._hurried_at: float | None = None
        self.received: str | None = None

    def install(self) -> None:
        """Take the signals; outside of the main thread nothing can be taken."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _TAKEN:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._interrupt)

    def restore(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @contextlib.contextmanager
    def patience(self, grace_seconds: float = 10.0) -> Iterator[float]:
        """Yield the grace period that is left, 0 after a second SIGINT, which also interrupts."""
        self._is_patient = True
        try:
            yield grace_seconds if self._hurried_at is None else 0.0
        finally:
            self._is_patient = False

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGHUP:
            leave_terminal()
        if self.received is None:
            self.received = name
            raise KeyboardInterrupt(f"{name} received")
        if number != signal.SIGINT:
            return
        now = time.monotonic()
        if self._hurried_at is None:
            self._hurried_at = now
        if self._is_patient or now - self._hurried_at > _STUCK_SECONDS:
            raise KeyboardInterrupt(f"{name} received again")


def leave_terminal() -> None:
    """Point every descriptor of a terminal to nowhere: after a hang-up each write would fail."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError, ValueError):
            descriptor = int(entry.name)
            if descriptor != nowhere and _is_terminal(descriptor):
                os.dup2(nowhere, descriptor, inheritable=os.get_inheritable(descriptor))
    os.close(nowhere)


def _is_terminal(descriptor: int) -> bool:
    """Tell whether this is a terminal, also one that was hung up: `isatty` denies that."""
    try:
        termios.tcgetattr(descriptor)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    return True
