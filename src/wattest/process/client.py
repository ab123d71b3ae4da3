"""A guard and its supervisor, as their owner sees them: started, asked, and missed when dead."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from wattest.errors import ProcessError
from wattest.process.launch import (
    fill_standard_streams,
    interrupts_held,
    scratch_file,
    start_guard,
)
from wattest.process.supervisor import kernel
from wattest.process.supervisor.endings import in_words
from wattest.process.supervisor.wire import End, Message
from wattest.process.sweep import kill_tree

# A start takes some 30 ms; on a machine full of trainings it may take a hundred times that.
_START_SECONDS = 30.0
_CLEARING_SECONDS = 5.0
# Letting go takes milliseconds; a supervisor that hangs is killed after this time.
_END_SECONDS = 2.0
# So long garbage collection may take. A guard that takes longer is reaped at the next start.
_FORGOTTEN_SECONDS = 0.05
_FORGOTTEN: list[subprocess.Popen[bytes]] = []


class Client:
    """The owner's hold on a guard and a supervisor; for one thread at a time.

    Nothing here runs concurrently: the supervisor does what must happen at once. A client that is
    forgotten, or whose process ends in any way, takes its tree with it. Answers and news do not
    share a socket, so no answer can take news away from who waits for it.

    Attributes:
        hello: the first event, which told that the supervision was up.
        guard_pid: PID of the guard, 0 if there is none.
        supervisor_pid: PID of the supervisor, 0 if there is none.
    """

    def __init__(self, spec: Mapping[str, Any], owners: Sequence[int], tree: str = "") -> None:
        """Start guard and supervisor, and wait until they are up.

        `spec` is what the guard reads, `owners` the PIDs beside this process that it watches, and
        `tree` the mark of what it runs, if it runs anything.

        Raises:
            ProcessError: an owner is gone, or the supervision did not come up; with its words.
        """
        _FORGOTTEN[:] = [guard for guard in _FORGOTTEN if guard.poll() is None]
        self.guard_pid = self.supervisor_pid = 0
        self._tree = tree
        self._made_by = os.getpid()
        self._guard: subprocess.Popen[bytes] | None = None
        self._guard_pidfd = self._supervisor_pidfd = -1
        self._events: list[tuple[str, Message]] = []
        self._last_id = 0
        self._found_by_mark: int | None = None
        try:
            fill_standard_streams()
            self._errors = scratch_file("wattest-errors")
            control, their_control, news, their_news = _two_pairs()
        except OSError as error:
            raise ProcessError(f"cannot start a supervisor: {error}") from error
        self._control, self._news = End(control), End(news)
        ends = {"control": their_control, "news": their_news}
        try:
            try:
                self._start({"rung": "guard", "leaf": "", "output": -1, **spec, **ends}, owners)
            finally:
                kernel.close(*ends.values())
            self._await_ready()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise ProcessError(f"cannot start a supervisor: {in_words(error)}") from error
            raise

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._control.descriptor < 0

    @property
    def is_over(self) -> bool:
        """Whether the supervisor has closed its ends, that is, has ended."""
        return self._control.is_over or self._news.is_over

    def fileno(self) -> int:
        """Return a descriptor that is readable when news, or the end, may have come."""
        return self._news.descriptor

    def request(self, do: str, timeout_seconds: float, **fields: object) -> Message:
        """Ask, and wait for the answer. An interruption is harmless: a late answer is dropped.

        Raises:
            ProcessError: there was none in time, or guard or supervisor are gone.
        """
        if self.is_closed:
            raise ProcessError(f"{do!r} was asked of a process tree that is closed")
        self._last_id += 1
        deadline = time.monotonic() + timeout_seconds
        self._control.send({"id": self._last_id, "do": do, **fields})
        while not self.is_over:
            reply = _receive(self._control, deadline - time.monotonic())
            if reply is not None and reply.pop("id") == self._last_id:
                if "unknown" in reply:
                    raise ProcessError(f"the supervisor does not know the request {do!r}")
                return reply
            if time.monotonic() >= deadline:
                raise ProcessError(
                    f"the supervisor (PID {self.supervisor_pid}) did not answer {do!r}"
                    f" within {timeout_seconds:g} s"
                )
        raise self._lost()

    def take_event(self, kind: str) -> Message | None:
        """Return and forget the first event of a kind that has come, None where there is none.

        Raises:
            ProcessError: there is none, and none can come: guard or supervisor are gone.
        """
        self._pump()
        for index, (event, fields) in enumerate(self._events):
            if event == kind:
                del self._events[index]
                return fields
        if self.is_over and not self.is_closed:
            raise self._lost()
        return None

    def kill_supervisor(self) -> bool:
        """SIGKILL a supervisor that does not answer; return whether its tree is dead too."""
        if self._supervisor_pidfd >= 0:
            with suppress(ProcessLookupError):
                kernel.pidfd_send_signal(self._supervisor_pidfd, signal.SIGKILL)
        return self._await_guard(_CLEARING_SECONDS)

    def kill_both(self) -> None:
        """SIGKILL guard and supervisor, where neither must act any more."""
        if self._guard is not None:
            self._guard.kill()
        self.kill_supervisor()

    def close(self) -> None:
        """Let go: the supervisor kills what is left and ends; reaps the guard.

        May be called again, also after an interruption.
        """
        # A fork of the owner only drops its copies.
        if self._made_by == os.getpid():
            if not self.is_closed:
                self._control.send({"id": 0, "do": "end"})
                self._pump()
                self._close_ends()
            if not self._await_guard(_END_SECONDS):
                self.kill_supervisor()
        self._drop()

    def __del__(self) -> None:
        # Garbage collection waits for next to nothing; a keeper's promise stands until we are gone.
        if not hasattr(self, "_news") or sys.is_finalizing():
            return
        if self._guard is not None and self._made_by == os.getpid():
            if self._tree and not self.is_closed:
                self._control.send({"id": 0, "do": "end"})
            for pidfd in (self._guard_pidfd, self._supervisor_pidfd):
                with suppress(OSError):
                    kernel.pidfd_send_signal(pidfd, signal.SIGCONT)
            kernel.wait([self._guard_pidfd], seconds=_FORGOTTEN_SECONDS)
            if self._guard.poll() is None:
                _FORGOTTEN.append(self._guard)
        self._drop()

    def _start(self, spec: Mapping[str, Any], owners: Sequence[int]) -> None:
        with interrupts_held():
            self._guard = start_guard(spec, owners, self._tree, self._errors)
            self.guard_pid = self._guard.pid
            self._guard_pidfd = kernel.pidfd_open(self.guard_pid)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while (event := self.take_event("ready")) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ProcessError(f"the supervisor was not ready within {_START_SECONDS:g} s")
            self._pump(left)
        self.hello = event
        self.supervisor_pid = event["pid"]
        self._supervisor_pidfd = kernel.pidfd_open(self.supervisor_pid)

    def _pump(self, timeout_seconds: float = 0.0) -> None:
        """Take in the news that have come, waiting up to `timeout_seconds` for the first."""
        while not self.is_closed and (event := _receive(self._news, timeout_seconds)) is not None:
            self._events.append((event.pop("event"), event))
            timeout_seconds = 0.0

    def _close_ends(self) -> None:
        self._control.close()
        self._news.close()

    def _drop(self) -> None:
        """Close all that is ours alone."""
        self._close_ends()
        self._errors.close()
        kernel.close(self._guard_pidfd, self._supervisor_pidfd)
        self._guard, self._guard_pidfd, self._supervisor_pidfd = None, -1, -1

    def _lost(self) -> ProcessError:
        """Wait until the tree of a dead supervision is dead too; return the error that tells it."""
        if not self.supervisor_pid:
            self._await_guard(_CLEARING_SECONDS)
            return ProcessError(f"cannot start a supervisor{self._last_words()}")
        dead = "the guard" if self._is_guard_lost() else "the supervisor"
        fate = "its tree was killed"
        if not self._tree:
            # A keeper goes on without its guard, and a guard without its keeper.
            fate = "the other one goes on"
        elif not self._await_guard(_CLEARING_SECONDS):
            fate = "the guard is still busy killing its tree"
        elif self._found_by_mark is not None:
            dead = "guard and supervisor"
            fate = f"{self._found_by_mark} processes of the tree were found by mark and killed"
        pids = f"guard PID {self.guard_pid}, supervisor PID {self.supervisor_pid}"
        return ProcessError(
            f"{dead} of a process tree died unexpectedly; {fate} ({pids}){self._last_words()}"
        )

    def _await_guard(self, seconds: float) -> bool:
        """Wait for the guard to end, and reap it; return whether it has.

        Where it was killed, and the supervisor too, nobody else is left to clear up.
        """
        if self._guard is not None and self._guard.returncode is None:
            # Somebody may have stopped it.
            self._guard.send_signal(signal.SIGCONT)
            # Popen.wait with a timeout looks at growing intervals, up to 50 ms.
            if not kernel.wait([self._guard_pidfd], seconds=seconds):
                return False
            if self._guard.wait() < 0 and self._tree and not self._is_guard_lost():
                self._found_by_mark = kill_tree(self._tree)
        return True

    def _is_guard_lost(self) -> bool:
        """Return whether the supervisor has said that its guard died: then it kills the tree."""
        self._pump()
        return any(event == "lost" for event, _ in self._events)

    def _last_words(self) -> str:
        """Return the end of what guard and supervisor wrote to their standard error."""
        try:
            size = os.fstat(self._errors.fileno()).st_size
            text = os.pread(self._errors.fileno(), 2000, max(0, size - 2000))
        except (OSError, ValueError):
            return ""
        return f":\n{text.decode(errors='replace').rstrip()}" if text else ""


def _two_pairs() -> list[int]:
    kind = socket.AF_UNIX, socket.SOCK_SEQPACKET
    ends = [*socket.socketpair(*kind), *socket.socketpair(*kind)]
    return [end.detach() for end in ends]


def _receive(end: End, timeout_seconds: float) -> Message | None:
    """Return one message, None when there was none in time or never will be."""
    kernel.wait([end.descriptor], seconds=timeout_seconds)
    return end.receive()
