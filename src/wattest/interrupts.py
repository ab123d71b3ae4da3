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
        self._held_at: float | None = None
        self._put_off: str | None = None
        self.received: str | None = None

    def install(self) -> None:
        """Take the signals; outside of the main thread nothing can be taken."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _TAKEN:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._interrupt)
        _INSTALLED.append(self)

    def restore(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        if self in _INSTALLED:
            _INSTALLED.remove(self)

    @contextlib.contextmanager
    def patience(self, grace_seconds: float = 10.0) -> Iterator[float]:
        """Yield the grace period that is left, 0 after a second SIGINT, which also interrupts."""
        self._is_patient = True
        try:
            yield grace_seconds if self._hurried_at is None else 0.0
        finally:
            self._is_patient = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Put the interruption off until the end of the block, where it is raised.

        A block that is stuck can still be broken off, by a SIGINT after the second.
        """
        if self._held_at is not None:
            yield
            return
        self._held_at = time.monotonic()
        try:
            yield
        finally:
            self._held_at = None
            text, self._put_off = self._put_off, None
            if text is not None:
                raise KeyboardInterrupt(text)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        name, now = signal.Signals(number).name, time.monotonic()
        if number == signal.SIGHUP:
            leave_terminal()
        if self.received is None:
            self.received = name
            self._raise_or_put_off(f"{name} received", is_held=self._held_at is not None)
        elif number == signal.SIGINT:
            if self._hurried_at is None:
                self._hurried_at = now
            if self._is_patient or now - self._hurried_at > _STUCK_SECONDS:
                held = self._held_at is not None and now - self._held_at <= _STUCK_SECONDS
                self._raise_or_put_off(f"{name} received again", is_held=held)

    def _raise_or_put_off(self, text: str, *, is_held: bool) -> None:
        if not is_held:
            raise KeyboardInterrupt(text)
        self._put_off = self._put_off or text


_INSTALLED: list[OrderlySignals] = []


def interruptions_held() -> contextlib.AbstractContextManager[None]:
    """Put interruptions off over a block, where the session takes the signals at all."""
    return _INSTALLED[-1].held() if _INSTALLED else contextlib.nullcontext()


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
