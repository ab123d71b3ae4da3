"""A promise that outlives pytest: what the session changed is put back when it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from wattest.errors import ProcessError
from wattest.process.handle import Handle
from wattest.process.supervisor.keeper import undo

_ANSWER_SECONDS = 10.0


class Keeper:
    """Writes values to files as soon as an owner is gone, in whatever way it ended.

    Args:
        undo: paths with the text to write to each, in this order; written as the present user.
        owners: PIDs beside this process whose end also counts.

    Raises:
        ProcessError: an owner is gone already, or the keeper did not come up.
    """

    def __init__(self, undo: Sequence[tuple[Path, str]], owners: Sequence[int] = ()) -> None:
        self._undo = [(str(path.absolute()), value) for path, value in undo]
        self._handle = Handle({"mission": "keeper", "undo": self._undo, "output": -1}, owners)

    @property
    def guard_pid(self) -> int:
        """PID of the keeper's guard, a child of this process."""
        return self._handle.guard_pid

    @property
    def keeper_pid(self) -> int:
        """PID of the keeper, a child of its guard."""
        return self._handle.supervisor_pid

    def close(self) -> None:
        """End the promise: nothing is written. Idempotent."""
        if self._handle.is_closed:
            return
        try:
            self._handle.request("release", _ANSWER_SECONDS)
        except ProcessError:
            self._handle.kill_both()
        self._handle.close()

    def undo_now(self) -> None:
        """Write the values now, and end the promise. Idempotent.

        Raises:
            ProcessError: a value could not be written; one line per path.
        """
        if self._handle.is_closed:
            return
        try:
            faults = self._handle.request("undo", _ANSWER_SECONDS)["faults"]
        except ProcessError:
            self._handle.kill_both()
            faults = undo(self._undo)
        self._handle.close()
        if faults:
            raise ProcessError("\n".join(faults))

    def __enter__(self) -> Keeper:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.undo_now()
