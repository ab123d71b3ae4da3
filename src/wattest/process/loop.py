"""The background load: a command that the supervisor runs again and again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from wattest.errors import ProcessError
from wattest.process.handle import Handle
from wattest.process.order import order_for
from wattest.process.reports import Command, LoopNews, LoopStatus, RunExit, Rung, StopReport
from wattest.process.tree import Supervision

_MEBIBYTE = 1 << 20
_STATUS_SECONDS = 1.0
# The kernel shall rather kill the load than the training that is measured, or pytest.
_OOM_SCORE_ABOVE_OWNER = 200


class Loop(Supervision):
    """An endless loop of runs, each with its own log `run_N.log` in `log_folder`.

    The next run starts as soon as nothing is left of the one before. After a failure there is a
    pause, `backoff_seconds` doubling to `longest_backoff_seconds`, forgotten after a run that
    ended with 0 and lasted a second. `fast_failures_limit` failures in a row within a second
    each, or 200 clean runs in a row within 50 ms each, are news: this is no load.

    Args:
        command: what to run.
        log_folder: created if need be.
        rung: what holds the trees together; ask `probe` what there is.
        owners: PIDs beside this process whose end also ends the loop.
        log_owner: (uid, gid) that shall own the logs; default: `command.run_as`, else unchanged.
        log_cap_bytes: size at which a log loses its middle.
        logs_cap_bytes: size of all logs at which the oldest go, but never the first.
        backoff_seconds: the first pause.
        longest_backoff_seconds: the longest pause.
        fast_failures_limit: failures in a row that make the load ineffective.

    Raises:
        ProcessError: the folder cannot be made, an owner is gone, or the supervisor did not come
            up. That the rung is not to be had is told by `start`.
    """

    def __init__(
        self,
        command: Command,
        log_folder: Path,
        *,
        rung: Rung = Rung.GUARD,
        owners: Sequence[int] = (),
        log_owner: tuple[int, int] | None = None,
        log_cap_bytes: int = 16 * _MEBIBYTE,
        logs_cap_bytes: int = 256 * _MEBIBYTE,
        backoff_seconds: float = 0.1,
        longest_backoff_seconds: float = 5.0,
        fast_failures_limit: int = 5,
    ) -> None:
        super().__init__(command, rung)
        self._last_status: LoopStatus | None = None
        owner = log_owner or command.run_as
        folder = _made(log_folder, owner)
        settings = {
            "log_folder": str(folder),
            "log_owner": owner if os.geteuid() == 0 else None,
            "log_cap_bytes": log_cap_bytes,
            "logs_cap_bytes": logs_cap_bytes,
            "backoff_ns": int(backoff_seconds * 1e9),
            "longest_backoff_ns": int(longest_backoff_seconds * 1e9),
            "failures_limit": fast_failures_limit,
        }
        order = order_for(command, self._tree, _OOM_SCORE_ABOVE_OWNER)
        spec = {**self._common, "mission": "loop", "order": order, "loop": settings, "output": -1}
        self._handle = Handle(spec, owners, self._tree)

    def __enter__(self) -> Loop:
        return self

    def poll(self) -> LoopNews | None:
        """Return what the owner must hear, once; None while there is nothing.

        Raises:
            ProcessError: guard or supervisor died; by then the tree has been killed.
        """
        event = self._handle.take_event("ineffective")
        return None if event is None else LoopNews(ineffective=True, reason=event["reason"])

    def status(self) -> LoopStatus:
        """Return what the loop has done so far; after `stop`, what it had done by then.

        Raises:
            ProcessError: guard or supervisor are gone, or do not answer within a second.
        """
        if self._handle.is_closed and self._last_status is not None:
            return self._last_status
        reply = self._handle.request("status", _STATUS_SECONDS)
        del reply["id"]
        last = reply["last_exit"]
        if last is not None:
            reply["last_exit"] = RunExit(
                exit_code=last.get("exit_code"),
                signal=last.get("signal"),
                error=last.get("text"),
                duration_ns=last["duration_ns"],
            )
        self._last_status = LoopStatus(**reply)
        return self._last_status

    def stop(self, grace_seconds: float = 10.0, kill_seconds: float = 5.0) -> StopReport:
        """End the loop and every process of it, as `Supervision.stop` does; then let go of it.

        Raises:
            SurvivorError: the supervision itself failed, and processes may be left.
        """
        report = super().stop(grace_seconds, kill_seconds)
        if not report.survivors and not self._handle.is_closed:
            if not self._handle.is_over:
                self.status()
            self.close()
        return report


def _made(folder: Path, owner: tuple[int, int] | None) -> Path:
    absolute = folder.absolute()
    try:
        is_new = not absolute.exists()
        absolute.mkdir(parents=True, exist_ok=True)
        if is_new and owner is not None and os.geteuid() == 0:
            os.chown(absolute, *owner)
    except OSError as error:
        raise ProcessError(f"cannot make the log folder {str(folder)!r}: {error}") from error
    return absolute
