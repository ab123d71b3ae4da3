"""One training, one run: the foreground, or any program that must not outlive us."""

from __future__ import annotations

import os
import secrets
import select
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from wattest.errors import ProcessError, SurvivorError
from wattest.process.cgroup import new_leaf
from wattest.process.handle import Handle
from wattest.process.order import order_for, spawn_error
from wattest.process.reports import Command, Exit, Rung, StopReport, Survivor

# exec may have to wait for a network file system.
_SPAWN_SECONDS = 60.0
_ANSWER_SECONDS = 1.0
_STOP_MARGIN_SECONDS = 5.0


class Supervision:
    """What one run and a loop have in common: processes that can be counted and stopped."""

    def __init__(self, command: Command, rung: Rung) -> None:
        self._command = command
        self._tree = secrets.token_hex(8)
        self._leaf = new_leaf() if rung is Rung.CGROUP else ""
        self._common: dict[str, Any] = {"rung": rung.value, "leaf": self._leaf}
        self._is_started = False
        self._deadline_ns = 0
        self._handle: Handle

    @property
    def guard_pid(self) -> int:
        """PID of the guard, a child of this process."""
        return self._handle.guard_pid

    @property
    def supervisor_pid(self) -> int:
        """PID of the supervisor, the child of the guard that runs the training."""
        return self._handle.supervisor_pid

    def fileno(self) -> int:
        """Return a descriptor that is readable when `poll` has news."""
        return self._handle.fileno()

    def start(self) -> int:
        """Run the command; return its PID once exec has succeeded.

        Raises:
            SpawnError: the program could not be started; the message says why.
            ProcessError: it was started before, or guard or supervisor are gone.
        """
        if self._is_started:
            raise ProcessError("a training is started only once")
        self._is_started = True
        reply = self._handle.request("start", _SPAWN_SECONDS, deadline_ns=self._deadline_ns)
        if "step" in reply:
            raise spawn_error(self._command, reply)
        pid: int = reply["pid"]
        return pid

    def pids(self) -> tuple[int, ...]:
        """Return the live processes of the tree, none when the supervision is over.

        Raises:
            ProcessError: the supervisor does not answer.
        """
        if self._handle.is_closed or self._handle.is_over:
            return ()
        return tuple(self._handle.request("pids", _ANSWER_SECONDS)["pids"])

    def stop(self, grace_seconds: float = 10.0, kill_seconds: float = 5.0) -> StopReport:
        """End every process: SIGTERM, a grace period, then SIGKILL until none is left.

        Without grace SIGKILL comes at once. May be called again, also after an interruption: a
        shorter grace then counts.

        Raises:
            SurvivorError: the supervision itself failed, and processes may be left.
        """
        if self._handle.is_closed:
            return StopReport(False, False, 0, (), 0.0)
        began = time.monotonic()
        patience = grace_seconds + kill_seconds + _STOP_MARGIN_SECONDS
        deadlines = {"grace_ns": int(grace_seconds * 1e9), "kill_ns": int(kill_seconds * 1e9)}
        try:
            reply = self._handle.request("stop", patience, **deadlines)
        except ProcessError as error:
            if not self._handle.kill_supervisor():
                raise SurvivorError(f"{error}; its guard has not cleared up either") from error
            return StopReport(True, True, 0, (), time.monotonic() - began)
        return StopReport(
            was_running=reply["was_running"],
            sigkill_needed=reply["sigkill_needed"],
            signalled=reply["signalled"],
            survivors=tuple(Survivor(*survivor) for survivor in reply["survivors"]),
            duration_seconds=reply["duration_ns"] / 1e9,
        )

    def close(self) -> None:
        """End whatever is left without grace, and reap the guard. Idempotent."""
        self._handle.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Tree(Supervision):
    """One run of a command, with everything that it starts, under guard and supervisor.

    All is up when the constructor returns, and the process of the command waits for its exec:
    `start` costs the measured window a millisecond or two. Output goes to `log`, which is emptied
    first. Orphans of the main process have
    `linger_seconds` to end by themselves before they are killed: `tee` may still be writing.

    Args:
        command: what to run.
        log: file for standard output and standard error.
        rung: what holds the tree together; ask `probe` what there is.
        owners: PIDs beside this process whose end also ends the tree.
        log_owner: (uid, gid) that shall own the log; default: `command.run_as`, else unchanged.
        linger_seconds: time for orphans after the end of the main process.

    Raises:
        ProcessError: the log cannot be written, an owner is gone, the rung is not to be had, or
            the supervisor did not come up.
    """

    def __init__(
        self,
        command: Command,
        log: Path,
        *,
        rung: Rung = Rung.GUARD,
        owners: Sequence[int] = (),
        log_owner: tuple[int, int] | None = None,
        linger_seconds: float = 0.1,
    ) -> None:
        super().__init__(command, rung)
        self._exit: Exit | None = None
        self._main = -1
        self._end_seen_ns: int | None = None
        spec = {
            **self._common,
            "mission": "tree",
            "order": order_for(command, self._tree),
            "linger_ns": int(linger_seconds * 1e9),
        }
        output = _open_log(log, log_owner or command.run_as)
        try:
            self._handle = Handle({**spec, "output": output}, owners, self._tree)
        finally:
            os.close(output)
        refusal = self._handle.hello["refusal"]
        if refusal is not None:
            self.close()
            raise spawn_error(command, refusal)

    def __enter__(self) -> Tree:
        return self

    def start(self, most_seconds: float | None = None) -> int:
        """Run the command, as `Supervision.start` does; watch its end beside the supervisor.

        What runs longer than `most_seconds` is ended by the supervisor: SIGTERM, ten seconds of
        grace, SIGKILL.
        """
        if most_seconds is not None:
            self._deadline_ns = time.monotonic_ns() + int(most_seconds * 1e9)
        pid = super().start()
        # It may have ended already.
        with suppress(OSError):
            self._main = os.pidfd_open(pid)
        return pid

    def close(self) -> None:
        """End whatever is left without grace, and reap the guard. Idempotent."""
        super().close()
        self._forget_main()

    def filenos(self) -> list[int]:
        """Return descriptors of which one is readable when `poll` should be called."""
        return [self.fileno()] if self._main < 0 else [self.fileno(), self._main]

    def poll(self) -> Exit | None:
        """Return how the training ended, once nothing of it is left; None while it runs.

        Its end is when the first noticed it, the supervisor or this process: one that is held up
        lengthens no training.

        Raises:
            ProcessError: guard or supervisor died; by then the tree has been killed.
        """
        if self._exit is None:
            self._notice_end()
            event = self._handle.take_event("exit")
            if event is not None:
                del event["event"]
                ended_ns = min(event.pop("ended_ns"), self._end_seen_ns or time.monotonic_ns())
                self._exit = Exit(**event, ended_ns=ended_ns)
        return self._exit

    def _notice_end(self) -> None:
        if self._main < 0:
            return
        poller = select.poll()
        poller.register(self._main, select.POLLIN)
        if poller.poll(0):
            self._end_seen_ns = time.monotonic_ns()
            self._forget_main()

    def _forget_main(self) -> None:
        if self._main >= 0:
            os.close(self._main)
        self._main = -1

    def cpu_seconds(self) -> float:
        """Return the CPU time that the tree has used so far, alive and reaped processes.

        Raises:
            ProcessError: guard or supervisor are gone, or do not answer.
        """
        if self._exit is not None:
            return self._exit.user_cpu_seconds + self._exit.system_cpu_seconds
        seconds: float = self._handle.request("cpu", _ANSWER_SECONDS)["cpu_seconds"]
        return seconds


def _open_log(log: Path, owner: tuple[int, int] | None) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(log, flags, 0o666)
    except OSError as error:
        raise ProcessError(f"cannot write the log {str(log)!r}: {error.strerror}") from error
    if owner is not None and os.geteuid() == 0:
        os.fchown(descriptor, *owner)
    return descriptor
