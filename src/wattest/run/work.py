"""The work of a load in a window: how many epochs its runs did, by the marks in their logs."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from wattest.files import open_regular
from wattest.run.marks import IN_BLOCKS, MarkReader, disorder

_MOST_RUNS = 20


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
            run = next(reversed(self.readers), 1)
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
        step = min(filter(None, map(_step, self.readers.values())), default=1.0)
        for run in runs:
            reader = self.readers.get(run.number)
            if reason := _why_unknown(run, reader, opened_ns, closed_ns):
                return Work("epochs", None, f"run {run.number}: {reason}")
            path = _Path(run, self.readers[run.number], first_ns, step)
            amount += path.done(closed_ns) - path.done(opened_ns)
            first_ns = path.first_ns or first_ns
        if not any(reader.marks for reader in self.readers.values()):
            return Work("epochs", None, "its logs have told of no epoch yet")
        return Work("epochs", amount)


def _why_unknown(
    run: LoadRun, reader: MarkReader | None, opened_ns: int, closed_ns: int
) -> str | None:
    """Return why it is not known what a run has done between two times; None where it is."""
    if reader is None:
        return "its log was not read"
    if reason := reader.problem or disorder(reader.marks):
        return reason
    is_cut = run.started_ns < opened_ns or run.ended_ns is None or run.ended_ns > closed_ns
    return IN_BLOCKS if is_cut and not all(mark.alone for mark in reader.marks) else None


def _step(reader: MarkReader) -> float | None:
    """Return how many epochs lie between two marks of a log at least; None where nothing tells."""
    steps = (after.epoch - before.epoch for before, after in pairwise(reader.marks))
    return min((step for step in steps if step > 0), default=None)


def _counts(epochs: Sequence[float], step: float) -> list[float]:
    """Return how many epochs had been done at each of these marks of a run.

    The first stands for one step at most: a training may count from 0, or go on with what it did
    before. So does one that a training begins anew with.
    """
    counts, before = [0.0], epochs[0]
    for epoch in epochs:
        done = epoch - before if epoch > before else min(step, epoch if epoch > 0 else 1.0)
        counts.append(counts[-1] + done)
        before = epoch
    return counts


class _Path:
    """How far a run had come at any time: by its marks, and by the time between them.

    `first_ns` is how long it took to its first mark, or the run before it where it has none yet.
    """

    def __init__(self, run: LoadRun, reader: MarkReader, first_ns: int | None, step: float) -> None:
        marks = reader.marks
        self._times = [run.started_ns, *(mark.seen_ns for mark in marks)]
        self._counts = _counts([mark.epoch for mark in marks], step) if marks else [0.0]
        self.first_ns = self._times[1] - self._times[0] if marks else first_ns
        # Behind its last mark an epoch is taken to last as long as the one before.
        span_ns = self._times[-1] - self._times[-2] if marks else first_ns
        if run.ended_ns is None and span_ns and not self._is_done(reader):
            self._times.append(self._times[-1] + span_ns)
            last = self._counts[-1] - self._counts[-2] if marks else step
            self._counts.append(self._counts[-1] + last)

    def _is_done(self, reader: MarkReader) -> bool:
        if reader.of is None or not reader.marks:
            return False
        return max(reader.marks[-1].epoch, self._counts[-1]) >= reader.of

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
