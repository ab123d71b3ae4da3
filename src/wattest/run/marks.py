"""Marks of progress in a log that grows: which epoch was seen when."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from wattest.energy import Snapshot
from wattest.files import open_regular
from wattest.patterns import Budget, Match, OutOfTimeError
from wattest.run.log import names_escape, plain
from wattest.run.numbers import number

# A log is read beside the samples of energy: what takes longer is given up.
LOOK_NS = 100_000_000
_LIMIT_SECONDS = 0.2
_SECONDS_PER_LOOK = 0.0005
_SECONDS_PER_CHARACTER = 0.25 / (1 << 20)
_MOST_BYTES = 1 << 16
_MOST_BEHIND = 16
_MOST_MARKS = 100_000
# How much is kept of what may be the beginning of a match, and of what stands before it.
_KEPT = 4096
_BEFORE = 256
# What the C library writes at once to a file, unless it is told to flush.
_BLOCK_BYTES = 4096
IN_BLOCKS = (
    "several epochs came in one look at the log, or one in a whole block of it: it is written in"
    " blocks (let the program flush), or epochs take less than a look's tenth of a second"
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
        self._is_plain = not names_escape(pattern)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = self._cut = ""
        self._start = self._offset = self._whole = self._behind = self._looked_ns = 0
        self._new: list[float] = []
        self._before_ns = 0
        self._held: float | None = None
        self._came_with_others = False
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
        # Of a training that has ended this may be a little before the last look.
        now_ns, size, was_held = max(now_ns, self._looked_ns), self._offset, False
        try:
            # Cheaper than its status, ten times a second.
            size = os.lseek(self._file.fileno(), 0, os.SEEK_END)
            is_still = size == self._offset
            if is_still and not is_last and self._held is None:
                self._before_ns, self._looked_ns = self._looked_ns, now_ns
                return
            was_held = self._held is not None
            self._read(size, is_last)
            self._find(is_last or is_still)
            self._behind = self._behind + 1 if self._offset < size else 0
            if self._behind > (0 if is_last else _MOST_BEHIND):
                raise OSError(0, "it grows faster than it is looked at")
        except OSError as error:
            self.problem = f"its log cannot be read: {error.strerror}"
        except OutOfTimeError as error:
            self.problem = f"its progress pattern {error}"
        # When an epoch came is known of a log that has been read to its end alone.
        if self._offset == size or self.problem:
            since_ns = self._before_ns if was_held else self._looked_ns
            if self._new or was_held or self._held is not None:
                self._mark(now_ns, since_ns or now_ns, latest, size)
            self._before_ns, self._looked_ns, self._whole = self._looked_ns, now_ns, size

    def close(self) -> None:
        """Let go of the log."""
        self._text = ""
        if hasattr(self, "_file"):
            self._file.close()

    def _read(self, size: int, is_last: bool) -> None:
        if size < self._offset:
            raise OSError(0, "it was cut")
        descriptor, text = self._file.fileno(), self._cut
        most = _MOST_BEHIND if is_last else 1
        while self._offset < size and most:
            most -= 1
            data = os.pread(descriptor, min(size - self._offset, _MOST_BYTES), self._offset)
            self._offset += len(data)
            text += self._decoder.decode(data)
        self._cut = ""
        if self._is_plain and "\x1b" in text:
            text, self._cut = plain(text)
        self._text += text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text

    def _find(self, is_over: bool) -> None:
        """Look for epochs in what is new, and keep what may be the beginning of a match.

        More may come of a number at the end, unless it `is_over`: then nothing came in a look.
        """
        self._held = None
        text, end = self._text, len(self._text)
        self._budget.allow(_SECONDS_PER_LOOK + _SECONDS_PER_CHARACTER * (end - self._start))
        rest = end
        matches = self._budget.matches(self._pattern, text, self._start, or_begun=not is_over)
        for match in matches:
            if match.partial or (match.end() == end and not is_over):
                self._held = None if match.partial else _number(match[1])
                rest = match.start()
                break
            self._take(match)
        rest = max(rest, end - _KEPT)
        begin = max(0, rest - _BEFORE)
        self._text, self._start = text[begin:], rest - begin

    def _take(self, match: Match) -> None:
        epoch, *others = map(_number, match.groups())
        if others and others[0]:
            self.of = int(others[0])
        if epoch is not None and epoch != self._last():
            self._new.append(epoch)

    def _last(self) -> float | None:
        return self._new[-1] if self._new else self.marks[-1].epoch if self.marks else None

    def _mark(
        self, now_ns: int, since_ns: int, latest: Callable[[], Snapshot] | None, size: int
    ) -> None:
        """Keep the epochs that are new as seen now; one that is held comes with the next look."""
        self._held = None if self._held == self._last() else self._held
        new, self._new = self._new, []
        had_company, self._came_with_others = self._came_with_others, False
        if not new:
            return
        self._came_with_others = self._held is not None
        is_block = self._whole % _BLOCK_BYTES == size % _BLOCK_BYTES == 0
        is_alone = len(new) == 1 and not (is_block or self.problem or had_company)
        is_alone = is_alone and not self._came_with_others
        seen = Snapshot(0.0) if latest is None else latest()
        counted = seen.cpu_joules, seen.gpu_joules
        gap_ns = now_ns - since_ns
        self.marks += [Mark(one, now_ns, gap_ns, is_alone, *counted) for one in new]
        if len(self.marks) > _MOST_MARKS:
            self.problem = f"its progress pattern tells of more than {_MOST_MARKS} epochs"


def _number(taken: str | None) -> float | None:
    return number((taken or "").strip().rstrip("."))


def disorder(marks: Sequence[Mark]) -> str:
    """Return why these are not the epochs of one training; empty where they may be.

    A training may begin anew; one that goes back elsewhere shares its log, or says something else.
    """
    for before, after in pairwise(mark.epoch for mark in marks):
        if marks[0].epoch < after < before:
            return f"its epochs do not count up: {after:g} came after {before:g}"
    return ""
