"""The traces of one window: CSV files that are written as it goes, and never cost the measurement.

A trace is there for the eye and for checking. When the disk is full it ends, the fact is kept as a
flag, and the energy goes on being measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from wattest.energy.types import DomainResult, Reason
from wattest.errors import EnergyError
from wattest.files import make_folder, open_new

_FLUSH_ROWS = 32
_EVENTS = {"cpu_pkg": "power/energy-pkg/", "cpu_ram": "power/energy-ram/"}

Cell = float | str | None
"""What stands in a column after the time; None is not known."""


class Trace:
    """One CSV file, whose first column is the time that `stamp` makes of a monotonic one.

    Rows are kept as they come and turned into text a few at a time: in the sampling loop every
    instruction runs with cold caches, and costs ten times what it costs in a row.
    """

    def __init__(self, path: Path, header: str, stamp: Callable[[int], str], digits: int) -> None:
        self.path = path
        self.failure: str | None = None
        self._fd = -1
        self._rows: list[tuple[int, tuple[Cell, ...]]] = []
        self._stamp = stamp
        self._digits = digits
        try:
            self._fd = open_new(path)
        except OSError as error:
            self._stop(error)
        self._put(f"{header}\n")

    def write(self, at_ns: int, *cells: Cell) -> None:
        """Append a row for a monotonic time; it reaches the disk a little later."""
        self._rows.append((at_ns, cells))
        if len(self._rows) >= _FLUSH_ROWS:
            self._flush()

    def close(self) -> None:
        """Write the rest and close; may be called twice."""
        self._flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        self._put("".join(self._line(*row) for row in rows))

    def _line(self, at_ns: int, cells: tuple[Cell, ...]) -> str:
        return ",".join([self._stamp(at_ns), *map(self._text, cells)]) + "\n"

    def _text(self, value: Cell) -> str:
        if value is None:
            return "N/A"
        return value if isinstance(value, str) else f"{value:.{self._digits}f}"

    def _put(self, text: str) -> None:
        rest = text.encode(errors="backslashreplace")
        try:
            while rest and self._fd >= 0:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            self._stop(error)

    def _stop(self, error: OSError) -> None:
        self.failure = error.strerror or str(error)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class TraceFolder:
    """The folder of one window with all its traces; it is created with its parents.

    A folder that already holds something is refused: what an earlier run left must never be read
    as the result of this one. The monotonic clock is tied to the wall clock once, so that a step of
    that does not tear the traces.

    Raises:
        EnergyError: The folder cannot be created or is not empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._traces: list[Trace] = []
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        try:
            make_folder(folder)
            stale = next(folder.iterdir(), None)
        except OSError as error:
            raise EnergyError(f"{folder}: cannot hold the energy of a run: {error}") from error
        if stale is not None:
            text = f"{folder}: holds {stale.name} of an earlier run; name another folder"
            raise EnergyError(text)

    def open(self, name: str, header: str, digits: int = 3) -> Trace:
        """Begin a trace with its header line; its numbers get so many decimals."""
        trace = Trace(self._folder / name, header, self._timestamp, digits)
        self._traces.append(trace)
        return trace

    def _timestamp(self, at_ns: int) -> str:
        """Seconds since the epoch with milliseconds, for a monotonic time."""
        milliseconds = (at_ns + self._offset_ns) // 1_000_000
        return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"

    def write_text(self, name: str, text: str) -> None:
        """Write a whole file; a failure is kept like that of a trace."""
        self.open(name, text.rstrip("\n")).close()

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


def cpu_report(started_at: datetime, seconds: float, results: Sequence[DomainResult]) -> str:
    """`cpu_energy.txt`: the CPU's energy of one window, for people, laid out like `perf stat`."""
    own = [line for result in results if result.domain in _EVENTS for line in _lines_of(result)]
    head = f"# started on {started_at:%a %b %d %H:%M:%S %Y}", "", ""
    title = " Energy counter stats for 'system wide':"
    foot = f"     {seconds:.9f} seconds time elapsed", "", ""
    return "\n".join([*head, title, "", *own, "", *foot])


def _lines_of(result: DomainResult) -> list[str]:
    event = _EVENTS[result.domain]
    if result.energy_joules is None:
        word = "<invalid>" if result.status == "invalid" else "<not counted>"
        return [f"{word:>18} Joules {event}", f"{'':18}   # {result.reason}"]
    return [
        f"{result.energy_joules:18,.2f} Joules {event}",
        *(
            f"{'':18}   # {part.joules:,.6f} Joules {part.name} ({part.facts['zone']})"
            for part in result.parts
        ),
    ]
