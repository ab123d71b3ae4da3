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
from wattest.process.launch import interrupts_held, scratch_file, start_guard
from wattest.process.supervisor import kernel, wire
from wattest.process.sweep import kill_tree

# A start takes some 30 ms; on a machine full of trainings it may take a hundred times that.
_START_SECONDS = 30.0
_CLEARING_SECONDS = 5.0
# Letting go takes milliseconds; a supervisor that hangs is killed after this time.
_END_SECONDS = 2.0
# What a socket takes as its timeout, well below 2**31 ms.
_LONGEST_WAIT_SECONDS = 1e6


class Client:
    """The owner's hold on a guard and a supervisor; for one thread at a time.

    Nothing here runs concurrently: the supervisor does what must happen at once. A client that is
    forgotten, or whose process ends in any way, takes its tree with it. Answers and news do not
    share a socket, so no answer can take news away from who waits for it.

    Attributes:
        hello: the first event, which told that the supervision was up.
        guard_pid: PID of the guard, 0 if there is none.
        supervisor_pid: PID of the supervisor, 0 if there is none.
        is_over: whether the supervisor has closed its ends, that is, has ended.
    """

    def __init__(self, spec: Mapping[str, Any], owners: Sequence[int], tree: str = "") -> None:
        """Start guard and supervisor, and wait until they are up.

        `spec` is what the guard reads, `owners` the PIDs beside this process that it watches, and
        `tree` the mark of what it runs, if it runs anything.

        Raises:
            ProcessError: an owner is gone, or the supervision did not come up; with its words.
        """
        self.guard_pid = self.supervisor_pid = 0
        self.is_over = False
        self._tree = tree
        self._made_by = os.getpid()
        self._guard: subprocess.Popen[bytes] | None = None
        self._guard_pidfd = self._supervisor_pidfd = -1
        self._events: list[tuple[str, wire.Message]] = []
        self._last_id = 0
        self._found_by_mark: int | None = None
        try:
            self._errors = scratch_file("wattest-errors")
            pair = (socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._control, their_control = socket.socketpair(*pair)
            self._news, their_news = socket.socketpair(*pair)
        except OSError as error:
            raise ProcessError(f"cannot start a supervisor: {error}") from error
        try:
            with their_control, their_news:
                ends = {"control": their_control.fileno(), "news": their_news.fileno()}
                self._start({"rung": "guard", "leaf": "", "output": -1, **spec, **ends}, owners)
            self._await_ready()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise ProcessError(f"cannot start a supervisor: {error}") from error
            raise

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._control.fileno() < 0

    def fileno(self) -> int:
        """Return a descriptor that is readable when news, or the end, may have come."""
        return self._news.fileno()

    def request(self, do: str, timeout_seconds: float, **fields: object) -> wire.Message:
        """Ask, and wait for the answer. An interruption is harmless: a late answer is dropped.

        Raises:
            ProcessError: there was none in time, or guard or supervisor are gone.
        """
        if self.is_closed:
            raise ProcessError(f"{do!r} was asked of a process tree that is closed")
        self._last_id += 1
        deadline = time.monotonic() + timeout_seconds
        self._send({"id": self._last_id, "do": do, **fields}, timeout_seconds)
        while not self.is_over:
            reply = self._receive(self._control, deadline - time.monotonic())
            if reply is not None and reply.pop("id") == self._last_id:
                return reply
            if time.monotonic() >= deadline:
                raise ProcessError(
                    f"the supervisor (PID {self.supervisor_pid}) did not answer {do!r}"
                    f" within {timeout_seconds:g} s"
                )
        raise self._lost()

    def take_event(self, kind: str) -> wire.Message | None:
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
                self._send({"id": 0, "do": "end"}, 0.0)
                self._close_ends()
            if not self._await_guard(_END_SECONDS):
                self.kill_supervisor()
        self._close_ends()
        self._errors.close()
        for pidfd in (self._guard_pidfd, self._supervisor_pidfd):
            if pidfd >= 0:
                os.close(pidfd)
        self._guard, self._guard_pidfd, self._supervisor_pidfd = None, -1, -1

    def __del__(self) -> None:
        if hasattr(self, "_news") and not sys.is_finalizing():
            self.close()

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

    def _send(self, message: wire.Message, timeout_seconds: float) -> None:
        self._control.settimeout(min(timeout_seconds, _LONGEST_WAIT_SECONDS))
        try:
            self._control.send(wire.pack(message), socket.MSG_NOSIGNAL)
        except ConnectionError:
            self.is_over = True
        except (BlockingIOError, TimeoutError):
            pass

    def _receive(self, end: socket.socket, timeout_seconds: float) -> wire.Message | None:
        """Return one packet, None when there was none in time or never will be."""
        if end.fileno() < 0:
            return None
        end.settimeout(min(max(timeout_seconds, 0.0), _LONGEST_WAIT_SECONDS))
        try:
            packet = end.recv(wire.MAXIMUM_BYTES)
        except (BlockingIOError, TimeoutError):
            return None
        except ConnectionError:
            packet = b""
        self.is_over = self.is_over or not packet
        return wire.unpack(packet) if packet else None

    def _pump(self, timeout_seconds: float = 0.0) -> None:
        """Take in the news that have come, waiting up to `timeout_seconds` for the first."""
        while (event := self._receive(self._news, timeout_seconds)) is not None:
            self._events.append((event.pop("event"), event))
            timeout_seconds = 0.0

    def _close_ends(self) -> None:
        """Close our ends of the sockets; what has come is kept."""
        self._pump()
        self._control.close()
        self._news.close()

    def _lost(self) -> ProcessError:
        """Wait until the tree of a dead supervision is dead too; return the error that tells it."""
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
