"""The logs of a load that may run for days: one per run, capped each and together."""

# pathlib would cost a third of the start-up.
# ruff: noqa: PTH108
from __future__ import annotations

import os
from collections import deque

from .family import MILLISECOND_NS

_LOOK_NS = 250 * MILLISECOND_NS
_SHORTEST_LOOK_NS = 10 * MILLISECOND_NS
_MOST_LOGS = 1000
# What comes while the end of a log is read is read too; after so many looks it is a race.
_LATE_LOOKS = 8
_NOTE = "dropped_logs.txt"


class RunLogs:
    """`run_1.log`, `run_2.log`, … in one folder.

    A log that grows past its cap keeps its first and its last quarter, with a line between them
    that says how much was dropped. When all logs together pass the folder's cap, the oldest go,
    but never the first and the newest, and `dropped_logs.txt` says so. No failure of the disk
    stops the load: what could not be done is counted in `faults`.
    """

    def __init__(
        self, folder: str, log_cap: int, folder_cap: int, owner: tuple[int, int] | None
    ) -> None:
        self._folder = folder
        self._log_cap = log_cap
        self._folder_cap = folder_cap
        self._owner = owner
        self._log = -1
        self._number = 0
        self._size = 0
        self._looked_ns = self._opened_ns = 0
        self._head = 0
        self._marker = 0
        self._dropped_here = 0
        self._first_size = 0
        self._older: deque[tuple[int, int]] = deque()
        self._older_size = 0
        self._deleted: list[int] = [0, 0, 0]
        self.dropped_bytes = 0
        self.faults = 0
        self.last_fault = ""

    def open(self, number: int) -> int:
        """Return a descriptor for the output of run `number`; /dev/null where the disk refuses."""
        self._number = number
        self._size = self._head = self._marker = self._dropped_here = 0
        self._looked_ns = self._opened_ns = 0
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
            self._log = os.open(self._path(number), flags, 0o666)
            if self._owner is not None:
                os.fchown(self._log, *self._owner)
            return os.dup(self._log)
        except OSError as error:
            self._count(error)
            return os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)

    def look(self, now_ns: int) -> int:
        """Apply the caps to the open log; return when to look again, in monotonic nanoseconds.

        That is four times a second, and more often only while a log is young or races to its cap.
        """
        if self._log < 0:
            return now_ns + _LOOK_NS
        self._opened_ns = self._opened_ns or now_ns
        before, elapsed_ns = self._size, now_ns - self._looked_ns
        self._looked_ns = now_ns
        self._apply()
        grown = self._size - before
        if grown <= 0 or before == 0:
            wait_ns = _LOOK_NS if grown <= 0 else _SHORTEST_LOOK_NS
        else:
            wait_ns = (self._log_cap - self._size) * elapsed_ns // (2 * grown)
        wait_ns = min(wait_ns, now_ns - self._opened_ns, _LOOK_NS)
        return now_ns + max(_SHORTEST_LOOK_NS, wait_ns)

    def close(self) -> None:
        """Apply the caps a last time to the log of a run that is over."""
        if self._log < 0:
            return
        self._apply()
        os.close(self._log)
        self._log = -1
        if self._number == 1:
            self._first_size = self._size
        else:
            self._older.append((self._number, self._size))
            self._older_size += self._size
        self._size = 0

    def _path(self, number: int) -> str:
        return f"{self._folder}/run_{number}.log"

    def _apply(self) -> None:
        try:
            self._size = os.fstat(self._log).st_size
            if self._size > self._log_cap:
                self._trim()
            self._prune()
        except OSError as error:
            self._count(error)

    def _trim(self) -> None:
        """Cut out the middle, in place: the training goes on appending to the same file."""
        if not self._head:
            start = os.pread(self._log, self._log_cap // 4, 0)
            self._head = start.rfind(b"\n") + 1 or len(start)
        quarter = self._log_cap // 4
        tail = os.pread(self._log, quarter, self._size - quarter)
        size = self._size
        for _ in range(_LATE_LOOKS):
            end, size = size, os.fstat(self._log).st_size
            if size <= end:
                break
            # A load may write faster than this reads: never more than a quarter at once.
            late = os.pread(self._log, quarter, max(end, size - quarter))
            tail = (tail + late)[-quarter:] if size - end <= quarter else late
        # Begin with a whole line, unless that costs half of what is kept.
        tail = tail[tail.find(b"\n", 0, len(tail) // 2) + 1 :]
        # Anything written between the last look and this line is lost, uncounted.
        os.ftruncate(self._log, self._head)
        dropped = max(0, size - self._head - self._marker - len(tail))
        self._dropped_here += dropped
        self.dropped_bytes += dropped
        marker = (
            f"\n[wattest: {self._dropped_here} bytes of output were dropped here,"
            f" a log of the load is capped at {self._log_cap} bytes]\n"
        ).encode()
        self._marker = len(marker)
        written = os.write(self._log, marker + tail)
        self.dropped_bytes += len(marker) + len(tail) - written
        self._size = os.fstat(self._log).st_size

    def _prune(self) -> None:
        pruned = False
        while self._older and self._is_over():
            number, size = self._older.popleft()
            self._older_size -= size
            try:
                os.unlink(self._path(number))
            except FileNotFoundError:
                continue
            first, _, count = self._deleted
            self._deleted = [first or number, number, count + 1]
            self.dropped_bytes += size
            pruned = True
        if pruned:
            self._note()

    def _is_over(self) -> bool:
        total = self._first_size + self._older_size + self._size
        return total > self._folder_cap or len(self._older) > _MOST_LOGS

    def _note(self) -> None:
        first, last, count = self._deleted
        text = (
            f"wattest deleted {count} logs, run_{first}.log to run_{last}.log: the logs of a load"
            f" are capped at {self._folder_cap} bytes and {_MOST_LOGS} files.\n"
        )
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(f"{self._folder}/{_NOTE}", flags, 0o666)
        try:
            os.write(descriptor, text.encode())
            if self._owner is not None:
                os.fchown(descriptor, *self._owner)
        finally:
            os.close(descriptor)

    @property
    def deleted_logs(self) -> int:
        """How many logs were deleted to keep the folder under its cap."""
        return self._deleted[2]

    def _count(self, error: OSError) -> None:
        self.faults += 1
        self.last_fault = str(error)
