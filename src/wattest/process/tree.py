"""A training that runs once, and a load that runs again and again; neither can outlive us."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from wattest.errors import ProcessError, SurvivorError
from wattest.files import sudo_user
from wattest.process.cgroup import new_leaf, oom_kills
from wattest.process.client import Client
from wattest.process.launch import open_log
from wattest.process.order import order_for, spawn_error
from wattest.process.reports import Command, Exit, LoopStatus, Rung, StopReport, Survivor
from wattest.process.supervisor import kernel

# exec may have to wait for a network file system.
_SPAWN_SECONDS = 60.0
_ANSWER_SECONDS = 1.0
_STOP_MARGIN_SECONDS = 5.0
_Self = TypeVar("_Self", bound="Supervision")


class Supervision:
    """What one run and a loop have in common: processes that can be counted and stopped.

    `guard_pid` is a child of this process, `supervisor_pid` its child, which runs the training.
    """

    # The kernel shall rather kill the load than the training that is measured, or pytest.
    oom_score_raised_by = 0

    def __init__(
        self, command: Command, rung: Rung, owners: Sequence[int], job: Mapping[str, object]
    ) -> None:
        self._command = command
        self._deadline_ns = 0
        tree = secrets.token_hex(8)
        try:
            spec = {
                "rung": rung.value,
                "leaf": new_leaf() if rung is Rung.CGROUP else "",
                "order": order_for(command, tree, self.oom_score_raised_by),
                **job,
            }
        except OSError as error:
            raise ProcessError(f"cannot start a supervisor: {error}") from error
        self._client = Client(spec, owners, tree)
        self.guard_pid = self._client.guard_pid
        self.supervisor_pid = self._client.supervisor_pid

    def fileno(self) -> int:
        """Return a descriptor that is readable when `poll` has news."""
        return self._client.fileno()

    def start(self) -> int:
        """Run the command; return its PID once exec has succeeded.

        Raises:
            SpawnError: it could not be started, or was before; the message says why.
            ProcessError: guard or supervisor are gone.
        """
        reply = self._client.request("start", _SPAWN_SECONDS, deadline_ns=self._deadline_ns)
        if "step" in reply:
            raise spawn_error(self._command, reply)
        return int(reply["pid"])

    def pids(self) -> tuple[int, ...]:
        """Return the live processes of the tree, none when the supervision is over.

        Raises:
            ProcessError: the supervisor does not answer.
        """
        if self._client.is_closed or self._client.is_over:
            return ()
        return tuple(self._client.request("pids", _ANSWER_SECONDS)["pids"])

    def stop(self, grace_seconds: float = 10.0, kill_seconds: float = 5.0) -> StopReport:
        """End every process: SIGTERM, a grace period, then SIGKILL until none is left; let go then.

        Without grace SIGKILL comes at once. May be called again, also after an interruption: a
        shorter grace then counts.

        Raises:
            SurvivorError: the supervision itself failed, and processes may be left.
        """
        if self._client.is_closed:
            return StopReport(False, False, (), 0.0)
        began = time.monotonic()
        patience = grace_seconds + kill_seconds + _STOP_MARGIN_SECONDS
        deadlines = {"grace_ns": int(grace_seconds * 1e9), "kill_ns": int(kill_seconds * 1e9)}
        try:
            reply = self._client.request("stop", patience, **deadlines)
        except ProcessError as error:
            if not self._client.kill_supervisor():
                raise SurvivorError(f"{error}; its guard has not cleared up either") from error
            return StopReport(True, True, (), time.monotonic() - began)
        survivors = tuple(Survivor(*survivor) for survivor in reply.pop("survivors"))
        if not survivors:
            self.close()
        return StopReport(**reply, survivors=survivors)

    def close(self) -> None:
        """End whatever is left without grace, and reap the guard. Idempotent."""
        self._client.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Tree(Supervision):
    """One run of a command, with everything that it starts, under guard and supervisor.

    All is up when the constructor returns, and the process of the command waits for its exec:
    `start` costs the measured window a millisecond or two. Output goes to `log`, which is emptied
    first, and belongs to the user of the command, else to who called sudo. Orphans of the main
    process have `linger_seconds` to end by themselves before they are killed: `tee` may still be
    writing.

    Args:
        log: file for standard output and standard error.
        rung: what holds the tree together; ask `probe` what there is.
        owners: PIDs beside this process whose end also ends the tree.
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
        linger_seconds: float = 0.1,
    ) -> None:
        self._exit: Exit | None = None
        self._main = -1
        self._end_seen_ns: int | None = None
        self._oom_kills = oom_kills()
        output = open_log(log, _log_owner(command))
        job = {"job": "one-shot", "output": output, "linger_ns": int(linger_seconds * 1e9)}
        try:
            super().__init__(command, rung, owners, job)
        finally:
            os.close(output)
        if (refusal := self._client.hello["refusal"]) is not None:
            self.close()
            raise spawn_error(command, refusal)

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
            self._main = kernel.pidfd_open(pid)
        return pid

    def close(self) -> None:
        """End whatever is left without grace, and reap the guard. Idempotent."""
        super().close()
        self._forget_main()

    def filenos(self) -> list[int]:
        """Return descriptors of which one is readable when `poll` should be called."""
        return [one for one in (self.fileno(), self._main) if one >= 0]

    def poll(self) -> Exit | None:
        """Return how the training ended, once nothing of it is left; None while it runs.

        Its end is when the first noticed it, the supervisor or this process: one that is held up
        lengthens no training.

        Raises:
            ProcessError: guard or supervisor died; by then the tree has been killed.
        """
        if self._exit is None:
            if self._main >= 0 and kernel.has_ended(self._main):
                self._end_seen_ns = time.monotonic_ns()
                self._forget_main()
            event = self._client.take_event("exit")
            if event is not None:
                event["ended_ns"] = min(event["ended_ns"], self._end_seen_ns or time.monotonic_ns())
                self._exit = Exit(**event, oom_kills=max(0, oom_kills() - self._oom_kills))
        return self._exit

    def cpu_seconds(self) -> float:
        """Return the CPU time that the tree has used so far, alive and reaped processes.

        Raises:
            ProcessError: guard or supervisor are gone, or do not answer.
        """
        if self._exit is not None:
            return self._exit.user_cpu_seconds + self._exit.system_cpu_seconds
        return float(self._client.request("status", _ANSWER_SECONDS)["cpu_seconds"])

    def _forget_main(self) -> None:
        kernel.close(self._main)
        self._main = -1


class Loop(Supervision):
    """An endless loop of runs, each with its own log `run_N.log` in `log_folder`.

    The next run starts as soon as nothing is left of the one before. After a failure there is a
    pause. Five failures in a row within a second each, or 200 clean runs in a row within 50 ms
    each, are news: this is no load.

    Args:
        log_folder: created if need be.
        rung, owners: as for a `Tree`.
        notes_runs: whether the begin and end of every run are noted in `runs.csv` in that folder.
        log_cap_bytes: size at which a log loses its middle.
        logs_cap_bytes: size of all logs at which the oldest go, but never the first.
        backoff_seconds, longest_backoff_seconds: the first pause, which doubles up to the longest
            and is forgotten after a run that ended with 0 and lasted a second.

    Raises:
        ProcessError: an owner is gone, or the supervisor did not come up. That the rung is not to
            be had is told by `start`.
        OSError: the folder cannot be made.
    """

    oom_score_raised_by = 200

    def __init__(
        self,
        command: Command,
        log_folder: Path,
        *,
        rung: Rung = Rung.GUARD,
        owners: Sequence[int] = (),
        notes_runs: bool = False,
        log_cap_bytes: int = 16 << 20,
        logs_cap_bytes: int = 256 << 20,
        backoff_seconds: float = 0.1,
        longest_backoff_seconds: float = 5.0,
    ) -> None:
        log_folder.mkdir(parents=True, exist_ok=True)
        job = {
            "job": "endless",
            "log_folder": str(log_folder.absolute()),
            "log_owner": _log_owner(command),
            "notes_runs": notes_runs,
            "log_cap_bytes": log_cap_bytes,
            "logs_cap_bytes": logs_cap_bytes,
            "backoff_ns": int(backoff_seconds * 1e9),
            "longest_backoff_ns": int(longest_backoff_seconds * 1e9),
        }
        super().__init__(command, rung, owners, job)

    def poll(self) -> str | None:
        """Return once why the loop is no load; None while there is nothing to tell.

        Raises:
            ProcessError: guard or supervisor died; by then the tree has been killed.
        """
        event = self._client.take_event("ineffective")
        return None if event is None else str(event["reason"])

    def status(self) -> LoopStatus:
        """Return what the loop has done so far.

        Raises:
            ProcessError: the loop was stopped, or nobody answers within a second.
        """
        return LoopStatus(**self._client.request("status", _ANSWER_SECONDS))


def _log_owner(command: Command) -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    # What root runs under sudo is to be read by who called it.
    return command.run_as if command.run_as and command.run_as[0] else sudo_user()
