"""Marks of progress in a log that grows: which epoch was seen when, and the work they amount to."""

from __future__ import annotations

import codecs
import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from wattest.energy import Snapshot
from wattest.files import open_regular
from wattest.patterns import Budget, OutOfTimeError
from wattest.run.numbers import number

# A log is read beside the samples of energy: what takes longer is given up.
LOOK_NS = 100_000_000
_LIMIT_SECONDS = 0.2
_SECONDS_PER_CHARACTER = 0.25 / (1 << 20)
_MOST_BYTES = 1 << 16
_MOST_BEHIND = 16
_KEPT = 4096
_MOST_RUNS = 20
IN_BLOCKS = (
    "several epochs came in one look at the log: it is written in blocks (let the program flush),"
    " or epochs take less than a look's tenth of a second"
)


@dataclass(frozen=True)
class Mark:
    """An epoch that a log has told of, seen at a monotonic time, at most `gap_ns` too late.

    One that was seen together with others is not `alone`: when each of them came is not known.
    """

    epoch: float
    seen_ns: int
    gap_ns: int
    alone: bool
    cpu_joules: float | None = None
    gpu_joules: float | None = None


class MarkReader:
    """Reads the marks of a growing log, a little with every look.

    `problem` says why it has given up; `of` is the number of epochs where the log tells.
    """

    def __init__(self, log: Path, pattern: re.Pattern[str]) -> None:
        self.marks: list[Mark] = []
        self.of: int | None = None
        self.problem = ""
        self._pattern, self._budget = pattern, Budget(_LIMIT_SECONDS)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._kept = ""
        self._offset = self._behind = self._looked_ns = 0
        try:
            self._file = open_regular(log)
        except OSError as error:
            self.problem = f"its log cannot be read: {error.strerror}"

    def look(
        self, now_ns: int, latest: Callable[[], Snapshot] | None = None, is_last: bool = False
    ) -> None:
        """Read what is new; `latest` tells what had been counted by now."""
        if self.problem:
            return
        try:
            if not is_last and os.fstat(self._file.fileno()).st_size == self._offset:
                self._looked_ns = now_ns
                return
            new = list(self._new(is_last))
        except OSError as error:
            self.problem = f"its log cannot be read: {error.strerror}"
            return
        except OutOfTimeError as error:
            self.problem = f"its progress pattern {error}"
            return
        gap_ns, self._looked_ns = max(0, now_ns - (self._looked_ns or now_ns)), now_ns
        seen = latest() if new and latest is not None else Snapshot(0.0)
        counted = seen.cpu_joules, seen.gpu_joules
        self.marks += [Mark(one, now_ns, gap_ns, len(new) == 1, *counted) for one in new]

    def close(self) -> None:
        """Let go of the log."""
        if hasattr(self, "_file"):
            self._file.close()

    def _new(self, is_last: bool) -> Iterator[float]:
        """Yield the epochs that the log has told of since the last look."""
        text = self._kept + self._read(_MOST_BEHIND if is_last else 1)
        if text == self._kept and not is_last:
            return
        self._budget.allow(_SECONDS_PER_CHARACTER * len(text))
        taken, last = 0, self.marks[-1].epoch if self.marks else None
        for match in self._budget.matches(self._pattern, text):
            # More of the number may come.
            if match.end() == len(text) and not is_last:
                break
            taken = match.end()
            groups = [number(group or "") for group in match.groups()]
            self.of = int(groups[1]) if len(groups) > 1 and groups[1] else self.of
            if groups[0] is not None and groups[0] != last:
                last = groups[0]
                yield last
        self._kept = text[max(taken, len(text) - _KEPT) :]

    def _read(self, most: int) -> str:
        descriptor, text = self._file.fileno(), ""
        size = os.fstat(descriptor).st_size
        if size < self._offset:
            raise OSError(0, "it was cut")
        while self._offset < size and most > 0:
            data = os.pread(descriptor, _MOST_BYTES, self._offset)
            self._offset, most = self._offset + len(data), most - 1
            text += self._decoder.decode(data)
        self._behind = self._behind + 1 if self._offset < size else 0
        if self._behind > _MOST_BEHIND:
            raise OSError(0, "it grows faster than it is looked at")
        return text.replace("\r\n", "\n").replace("\r", "\n")


@dataclass(frozen=True)
class LoadRun:
    """One run of a load; monotonic times, None for the end of one that goes on."""

    number: int
    started_ns: int
    ended_ns: int | None = None
    status: int | None = None

    def told(self, opened_ns: int, closed_ns: int) -> dict[str, float | int | None]:
        """Return it in seconds from the opening edge of a window; unended at its closing edge."""
        is_over = self.ended_ns is not None and self.ended_ns <= closed_ns
        ended_ns, status = (self.ended_ns, self.status) if is_over else (None, None)
        return {
            "number": self.number,
            "started_seconds": (self.started_ns - opened_ns) / 1e9,
            "ended_seconds": None if ended_ns is None else (ended_ns - opened_ns) / 1e9,
            "exit_code": status if status is not None and status >= 0 else None,
            "signal": -status if status is not None and status < 0 else None,
        }


@dataclass(frozen=True)
class Work:
    """The epochs that a load has done in a window, with the fractions at its edges by time."""

    unit: str
    amount: float | None
    reason: str | None = None


@dataclass
class LoadMarks:
    """The marks of all runs of a load, in `run_1.log`, `run_2.log` and so on."""

    folder: Path
    pattern: re.Pattern[str]
    readers: dict[int, MarkReader] = field(default_factory=dict)

    def look(self, now_ns: int) -> None:
        """Read what is new in the log of the present run, and first what the last ones left."""
        for _ in range(_MOST_RUNS):
            run = max(self.readers, default=1)
            log = self.folder / f"run_{run}.log"
            if run not in self.readers:
                if not log.exists():
                    return
                self.readers[run] = MarkReader(log, self.pattern)
            following = self.folder / f"run_{run + 1}.log"
            is_over = following.exists()
            self.readers[run].look(now_ns, is_last=is_over)
            if not is_over:
                return
            self.readers[run].close()
            self.readers[run + 1] = MarkReader(following, self.pattern)

    def close(self) -> None:
        """Let go of the logs."""
        for reader in self.readers.values():
            reader.close()

    def work(self, runs: list[LoadRun], opened_ns: int, closed_ns: int) -> Work:
        """Return the work that these runs have done between two monotonic times."""
        amount, first_ns = 0.0, None
        for run in runs:
            reader = self.readers.get(run.number)
            marks = reader.marks if reader else []
            if reader is None or reader.problem:
                problem = reader.problem if reader else "its log was not read"
                return Work("epochs", None, f"run {run.number}: {problem}")
            is_cut = run.started_ns < opened_ns or run.ended_ns is None or run.ended_ns > closed_ns
            if is_cut and not all(mark.alone for mark in marks):
                return Work("epochs", None, f"run {run.number}: {IN_BLOCKS}")
            path = _Path(run, reader, first_ns)
            amount += path.done(closed_ns) - path.done(opened_ns)
            first_ns = marks[0].seen_ns - run.started_ns if marks else first_ns
        if not any(reader.marks for reader in self.readers.values()):
            return Work("epochs", None, "its logs have told of no epoch yet")
        return Work("epochs", amount)


class _Path:
    """How far a run had come at any time: by its marks, and by the time between them."""

    def __init__(self, run: LoadRun, reader: MarkReader, first_ns: int | None) -> None:
        marks = reader.marks
        are_whole = all(mark.epoch.is_integer() for mark in marks)
        counts = [float(i) if are_whole else mark.epoch for i, mark in enumerate(marks, start=1)]
        self._times = [run.started_ns, *(mark.seen_ns for mark in marks)]
        self._counts = [0.0, *counts]
        is_done = reader.of is not None and self._counts[-1] >= reader.of
        # Behind its last mark an epoch is taken to last as long as the one before.
        span_ns = self._times[-1] - self._times[-2] if marks else first_ns
        if run.ended_ns is None and span_ns and not is_done:
            self._times.append(self._times[-1] + span_ns)
            step = self._counts[-1] - self._counts[-2] if marks else 1.0
            self._counts.append(self._counts[-1] + step)

    def done(self, at_ns: int) -> float:
        """Return the epochs done at a monotonic time."""
        place = min(bisect_right(self._times, at_ns), len(self._times) - 1)
        if place == 0 or at_ns >= self._times[-1]:
            return self._counts[0 if place == 0 else -1]
        span_ns = self._times[place] - self._times[place - 1]
        share = (at_ns - self._times[place - 1]) / span_ns
        return self._counts[place - 1] + share * (self._counts[place] - self._counts[place - 1])


def runs_of(folder: Path) -> list[LoadRun]:
    """Return the runs of a load that its supervisor has noted, oldest first."""
    found: dict[int, LoadRun] = {}
    try:
        with open_regular(folder / "runs.csv") as file:
            for line in file.read().decode("ascii", errors="replace").splitlines():
                cells = [int(cell) if cell else None for cell in line.split(",")]
                if len(cells) == 4 and cells[0] is not None and cells[1] is not None:
                    found[cells[0]] = LoadRun(cells[0], cells[1], cells[2], cells[3])
    except (OSError, ValueError):
        return []
    return list(found.values())
