"""A promise that outlives pytest: what the session changed is put back when it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wattest.errors import ProcessError
from wattest.process.client import Client
from wattest.process.supervisor.keeper import undo

_ANSWER_SECONDS = 10.0


class Keeper:
    """Writes values to files as soon as an owner is gone, in whatever way it ended.

    Args:
        undo: paths with the text to write to each, in this order; written as the present user.
        owners: PIDs beside this process whose end also counts.

    Raises:
        ProcessError: an owner is gone already, or the keeper did not come up.

    Attributes:
        guard_pid: PID of the keeper's guard, a child of this process.
        keeper_pid: PID of the keeper, a child of its guard.
    """

    def __init__(self, undo: Sequence[tuple[Path, str]], owners: Sequence[int] = ()) -> None:
        self._undo = [(str(path.absolute()), value) for path, value in undo]
        self._client = Client({"job": "keeper", "undo": self._undo}, owners)
        self.guard_pid = self._client.guard_pid
        self.keeper_pid = self._client.supervisor_pid

    def undo_now(self) -> None:
        """Write the values now, and end the promise. Idempotent.

        Raises:
            ProcessError: a value could not be written; one line per path.
        """
        if self._client.is_closed:
            return
        try:
            faults = self._client.request("undo", _ANSWER_SECONDS)["faults"]
        except ProcessError:
            self._client.kill_both()
            faults = undo(self._undo)
        self._client.close()
        if faults:
            raise ProcessError("\n".join(faults))
