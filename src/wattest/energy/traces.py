"""The traces of one window: CSV files that are written as it goes, and never cost the measurement.

A trace is there for the eye and for checking. When the disk is full it ends, the fact is kept as a
flag, and the energy goes on being measured.
"""

from __future__ import annotations

import os
from pathlib import Path

from wattest.energy.base import Clock, Reason
from wattest.errors import EnergyError

_FLUSH_BYTES = 4096
_FLUSH_LINES = 32


class Trace:
    """One CSV file.

    Args:
        path: A file that does not exist yet.
        header: Its first line, without the end of line.
    """

    __slots__ = ("_fd", "_lines", "_size", "failure", "path")

    def __init__(self, path: Path, header: str) -> None:
        self.path = path
        self.failure: str | None = None
        self._fd = -1
        self._lines = [f"{header}\n"]
        self._size = 0
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            self._stop(error)
        self.flush()

    def write(self, line: str) -> None:
        """Append a line, which brings its own end of line; it reaches the disk a little later."""
        self._lines.append(line)
        self._size += len(line)
        if self._size >= _FLUSH_BYTES or len(self._lines) >= _FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Hand what is waiting to the operating system."""
        if self._fd >= 0:
            rest = "".join(self._lines).encode()
            try:
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
            except OSError as error:
                self._stop(error)
        self._lines.clear()
        self._size = 0

    def close(self) -> None:
        """Write the rest and close; may be called twice."""
        self.flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _stop(self, error: OSError) -> None:
        self.failure = error.strerror or str(error)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class TraceFolder:
    """The folder of one window with all its traces.

    A folder that already holds something is refused: what an earlier run left must never be read
    as the result of this one.

    Args:
        folder: Created with its parents.
        clock: Ties the monotonic clock to the wall clock, once, so that a step of the wall clock
            does not tear the traces.

    Raises:
        EnergyError: The folder cannot be created or is not empty.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self._traces: list[Trace] = []
        self._offset_ns = clock.wall_ns() - clock.monotonic_ns()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stale = next(folder.iterdir(), None)
        except OSError as error:
            raise EnergyError(f"{folder}: cannot hold the energy of a run: {error}") from error
        if stale is not None:
            raise EnergyError(
                f"{folder}: holds {stale.name} of an earlier run; name another folder"
            )

    def open(self, name: str, header: str) -> Trace:
        """Begin a trace named `name` with its header line."""
        trace = Trace(self.folder / name, header)
        self._traces.append(trace)
        return trace

    def timestamp(self, at_ns: int) -> str:
        """Seconds since the epoch with milliseconds, for a monotonic time."""
        milliseconds = (at_ns + self._offset_ns) // 1_000_000
        return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"

    def write_text(self, name: str, text: str) -> None:
        """Write a whole file; a failure is kept like that of a trace."""
        trace = self.open(name, text.rstrip("\n"))
        trace.close()

    def close(self) -> None:
        """Close every trace; may be called twice."""
        for trace in self._traces:
            trace.close()

    def flags(self) -> tuple[Reason, ...]:
        """What could not be written."""
        return tuple(
            Reason("trace_incomplete", f"{trace.path.name} is incomplete: {trace.failure}")
            for trace in self._traces
            if trace.failure
        )
