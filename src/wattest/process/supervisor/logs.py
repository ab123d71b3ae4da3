"""The logs of a load that may run for days: one per run, capped each and together."""

# pathlib would cost a third of the start-up.
# ruff: noqa: PTH108, PTH123
from __future__ import annotations

import os
from contextlib import suppress

from .kernel import MILLISECOND_NS
from .wire import Message

_LONGEST_LOOK_NS = 250 * MILLISECOND_NS
_SHORTEST_LOOK_NS = 10 * MILLISECOND_NS
_MOST_LOGS = 1000
_MOST_NOTED = 100_000
# What comes while the end of a log is read is read too; after so many looks it is a race.
_LATE_LOOKS = 8
_APPEND = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC


class RunLogs:
    """`run_1.log`, `run_2.log`, … in one folder.

    A log that grows past its cap keeps its first and its last quarter, with a line between them
    that says how much was dropped. When all logs together pass the folder's cap, the oldest go,
    but never the first and the newest, and `dropped_logs.txt` says so. No failure of the disk
    stops the load.
    """

    def __init__(self, spec: Message) -> None:
        self._folder: str = spec["log_folder"]
        self._owner: tuple[int, int] | None = spec["log_owner"]
        self._log_cap: int = spec["log_cap_bytes"]
        self._folder_cap: int = spec["logs_cap_bytes"]
        self._notes_runs: bool = spec["notes_runs"]
        self._sizes: dict[int, int] = {}
        self._deleted = 0
        self._log = -1
        self._number = self._pause_ns = self._due_ns = 0
        self._head = self._marker = self._dropped = 0

    def open(self, number: int) -> int:
        """Return a descriptor for the output of run `number`; /dev/null where the disk refuses."""
        self._number, self._pause_ns, self._due_ns = number, 0, 0
        self._head = self._marker = self._dropped = 0
        try:
            self._log = self._create(f"run_{number}.log")
            self._sizes[number] = 0
            return os.dup(self._log)
        except OSError:
            return os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)

    def note_run(
        self, number: int, started_ns: int, ended_ns: int | None = None, status: int | None = None
    ) -> None:
        """Note when a run began, and how it ended: a line of `runs.csv`, the last one counts.

        Times are those of CLOCK_MONOTONIC; a negative status is a signal.
        """
        if not self._notes_runs or number > _MOST_NOTED:
            return
        cells = (number, started_ns, ended_ns, status)
        line = ",".join("" if cell is None else str(cell) for cell in cells) + "\n"
        with suppress(OSError):
            descriptor = self._create("runs.csv", _APPEND & ~os.O_TRUNC)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)

    def look(self, now_ns: int) -> int:
        """Apply the caps to the open log if that is due; return when it is, monotonic.

        That is four times a second, and more often only after the begin and after each cut: a
        flood that passes the cap soon is found when it has not yet written as much again.
        """
        if now_ns >= self._due_ns:
            doubled = 0 if self._apply() else 2 * self._pause_ns
            self._pause_ns = min(max(doubled, _SHORTEST_LOOK_NS), _LONGEST_LOOK_NS)
            self._due_ns = now_ns + self._pause_ns
        return self._due_ns

    def close(self) -> None:
        """Apply the caps a last time to the log of a run that is over."""
        if self._log >= 0:
            self._apply()
            os.close(self._log)
        self._log = -1

    def _create(self, name: str, flags: int = _APPEND) -> int:
        descriptor = os.open(f"{self._folder}/{name}", flags, 0o666)
        if self._owner is not None:
            # Not every file system knows owners.
            with suppress(OSError):
                os.fchown(descriptor, *self._owner)
        return descriptor

    def _apply(self) -> bool:
        """Apply both caps as far as the disk lets us; return whether the open log was over its."""
        is_over = False
        with suppress(OSError):
            size = os.fstat(self._log).st_size
            is_over = size > self._log_cap
            self._sizes[self._number] = self._cut(size) if is_over else size
            self._prune()
        return is_over

    def _cut(self, size: int) -> int:
        """Cut out the middle, in place: the training goes on appending to the same file."""
        quarter = self._log_cap // 4
        if not self._head:
            start = os.pread(self._log, quarter, 0)
            self._head = start.rfind(b"\n") + 1 or len(start)
        tail, position = b"", size - quarter
        for _ in range(_LATE_LOOKS):
            part = os.pread(self._log, quarter, position)
            position += len(part)
            tail = (tail + part)[-quarter:]
        # Begin with a whole line, unless that costs half of what is kept.
        tail = tail[tail.find(b"\n", 0, len(tail) // 2) + 1 :]
        size = os.fstat(self._log).st_size
        # Anything written between these two lines is lost, uncounted.
        os.ftruncate(self._log, self._head)
        self._dropped += size - self._head - self._marker - len(tail)
        marker = (
            f"\n[wattest: {self._dropped} bytes of output were dropped here,"
            f" a log of the load is capped at {self._log_cap} bytes]\n"
        ).encode()
        self._marker = len(marker)
        os.write(self._log, marker + tail)
        return os.fstat(self._log).st_size

    def _prune(self) -> None:
        """Delete the oldest logs until the folder is under its cap."""
        last = 0
        for number in [*self._sizes][1:-1] if self._is_over() else ():
            if not self._is_over():
                break
            last = number
            del self._sizes[number]
            with suppress(FileNotFoundError):
                os.unlink(f"{self._folder}/run_{number}.log")
                self._deleted += 1
        if last:
            self._note(last)

    def _is_over(self) -> bool:
        return sum(self._sizes.values()) > self._folder_cap or len(self._sizes) > _MOST_LOGS

    def _note(self, last: int) -> None:
        text = (
            f"wattest deleted {self._deleted} logs, run_2.log to run_{last}.log: the logs of a load"
            f" are capped at {self._folder_cap} bytes and {_MOST_LOGS} files.\n"
        )
        with open(self._create("dropped_logs.txt"), "w", encoding="ascii") as note:
            note.write(text)
