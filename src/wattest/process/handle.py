"""A guard and its supervisor, as their owner sees them: started, asked, and missed when dead."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from wattest.errors import ProcessError
from wattest.process.channel import Channel
from wattest.process.launcher import GuardProcess, interrupts_held, scratch_file
from wattest.process.supervisor import linux, wire
from wattest.process.sweep import kill_tree

# A start takes some 30 ms; on a machine full of trainings it may take a hundred times that.
_START_SECONDS = 30.0
_CLEARING_SECONDS = 5.0
# Letting go takes milliseconds; a supervisor that hangs is killed after this time.
_END_SECONDS = 2.0


class Handle:
    """The owner's hold on a supervision.

    Nothing here runs concurrently: the supervisor does what must happen at once. A handle that is
    forgotten, or whose process ends in any way, takes its tree with it.

    Attributes:
        hello: the first event, which told that the supervision was up.
        guard_pid: PID of the guard, 0 if there is none.
        supervisor_pid: PID of the supervisor, 0 if there is none.
    """

    def __init__(self, spec: Mapping[str, Any], owners: Sequence[int], tree: str = "") -> None:
        """Start guard and supervisor, and wait until they are up.

        Raises:
            ProcessError: an owner is gone, or the supervision did not come up; with its words.
        """
        self.guard_pid = self.supervisor_pid = 0
        self._is_dropped = False
        self._tree = tree
        self._made_by = os.getpid()
        self._guard: GuardProcess | None = None
        self._supervisor_pidfd = -1
        try:
            self._errors = scratch_file("wattest-errors")
            self._channel = Channel()
        except OSError as error:
            raise ProcessError(f"cannot start a supervisor: {error}") from error
        try:
            self._start(spec, owners)
        except OSError as error:
            self.close()
            raise ProcessError(f"cannot start a supervisor: {error}") from error
        except BaseException:
            self.close()
            raise

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._channel.is_closed

    @property
    def is_over(self) -> bool:
        """Whether the supervisor has ended."""
        return self._channel.is_over

    def fileno(self) -> int:
        """Return a descriptor that is readable when there may be news."""
        return self._channel.fileno()

    def request(self, do: str, timeout_seconds: float, **fields: object) -> wire.Message:
        """Ask, and wait for the answer.

        Raises:
            ProcessError: there was none in time, or guard or supervisor are gone.
        """
        if self.is_closed:
            raise ProcessError(f"{do!r} was asked of a process tree that is closed")
        reply = self._channel.ask(do, timeout_seconds, **fields)
        if reply is not None:
            return reply
        if self.is_over:
            raise self.lost()
        raise ProcessError(
            f"the supervisor (PID {self.supervisor_pid}) did not answer {do!r}"
            f" within {timeout_seconds:g} s"
        )

    def take_event(self, kind: str) -> wire.Message | None:
        """Return and forget the first event of a kind that has come, None where there is none.

        Raises:
            ProcessError: there is none, and none can come: guard or supervisor are gone.
        """
        event = self._channel.take_event(kind)
        if event is None and self.is_over and not self.is_closed:
            raise self.lost()
        return event

    def lost(self) -> ProcessError:
        """Wait until the tree of a dead supervision is dead too; return the error that tells it."""
        dead = "the guard" if self._channel.has_event("lost") else "the supervisor"
        fate = "its tree was killed"
        if not self._tree:
            # A keeper goes on without its guard, and a guard without its keeper.
            fate = "the other one goes on"
        elif not self._await_guard(_CLEARING_SECONDS):
            fate = "the guard is still busy killing its tree"
        elif self._both_were_killed():
            dead = "guard and supervisor"
            fate = f"{kill_tree(self._tree)} processes of the tree were found by mark and killed"
        pids = f"guard PID {self.guard_pid}, supervisor PID {self.supervisor_pid}"
        return ProcessError(
            f"{dead} of a process tree died unexpectedly; {fate} ({pids}){self._last_words()}"
        )

    def kill_supervisor(self) -> bool:
        """SIGKILL a supervisor that does not answer; return whether its tree is dead too."""
        self._kill_supervisor()
        if not self._await_guard(_CLEARING_SECONDS):
            return False
        if self._both_were_killed():
            kill_tree(self._tree)
        return True

    def kill_both(self) -> None:
        """SIGKILL supervisor and guard, where neither must act any more."""
        self._kill_supervisor()
        if self._guard is not None:
            self._guard.process.kill()

    def close(self) -> None:
        """Let go: the supervisor kills what is left and ends; reaps the guard.

        May be called again, also after an interruption.
        """
        if self._is_dropped:
            return
        if self._made_by != os.getpid():
            # A fork of the owner only drops its copies.
            self._drop()
            return
        if not self.is_closed:
            self._channel.tell("end")
            self._channel.close()
        if not self._await_guard(_END_SECONDS):
            self.kill_supervisor()
        elif self._both_were_killed():
            kill_tree(self._tree)
        self._drop()

    def __del__(self) -> None:
        if hasattr(self, "_channel") and not sys.is_finalizing():
            self.close()

    def _start(self, spec: Mapping[str, Any], owners: Sequence[int]) -> None:
        ends = [end.fileno() for end in self._channel.theirs]
        with interrupts_held():
            self._guard = GuardProcess(spec, ends, owners, self._tree, self._errors)
        self._channel.close_theirs()
        self.guard_pid = self._guard.process.pid
        self.hello = self._await_event("tried" if spec["mission"] == "trial" else "ready")
        pid: int = self.hello.get("pid", 0)
        if pid:
            self._supervisor_pidfd = linux.pidfd_open(pid)
            self.supervisor_pid = pid

    def _await_event(self, kind: str) -> wire.Message:
        deadline = time.monotonic() + _START_SECONDS
        while (event := self.take_event(kind)) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ProcessError(f"the supervisor was not ready within {_START_SECONDS:g} s")
            self._channel.pump(left)
        return event

    def _kill_supervisor(self) -> None:
        if self._supervisor_pidfd >= 0:
            with suppress(ProcessLookupError):
                linux.pidfd_send_signal(self._supervisor_pidfd, signal.SIGKILL)

    def _await_guard(self, seconds: float) -> bool:
        """Wait for the guard to end, and reap it; return whether it has."""
        if self._guard is None:
            return True
        process = self._guard.process
        if process.returncode is None:
            # Somebody may have stopped it.
            process.send_signal(signal.SIGCONT)
            # Popen.wait with a timeout looks at growing intervals, up to 50 ms.
            poller = select.poll()
            poller.register(self._guard.pidfd, select.POLLIN)
            if not poller.poll(seconds * 1000):
                return False
            process.wait()
        return True

    def _both_were_killed(self) -> bool:
        """Return whether nobody was left to clear up; asked when the guard has ended.

        A supervisor that sees its guard die says so, and kills the tree before it ends itself.
        """
        if self._guard is None or not self._tree:
            return False
        return (self._guard.process.returncode or 0) < 0 and not self._channel.has_event("lost")

    def _drop(self) -> None:
        self._is_dropped = True
        self._channel.close()
        self._errors.close()
        if self._guard is not None:
            os.close(self._guard.pidfd)
            self._guard = None
        if self._supervisor_pidfd >= 0:
            os.close(self._supervisor_pidfd)
            self._supervisor_pidfd = -1

    def _last_words(self) -> str:
        """Return the end of what guard and supervisor wrote to their standard error."""
        try:
            size = os.fstat(self._errors.fileno()).st_size
            text = os.pread(self._errors.fileno(), 2000, max(0, size - 2000))
        except (OSError, ValueError):
            return ""
        return f":\n{text.decode(errors='replace').rstrip()}" if text else ""
