"""The metrics of a training, from its log: the last match of a pattern, and whole numbers only."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wattest.patterns import Budget, Match, OutOfTimeError, compile_pattern
from wattest.run.log import pieces
from wattest.run.numbers import number, whole

# Beside the time that every pattern has: a log of gigabytes is read for longer than a short one.
_SECONDS_PER_CHARACTER = 0.25 / (1 << 20)
_LONGEST_SHOWN = 40
# What a program says where it has no number; or a number of which the pattern knows nothing.
_NO_NUMBER = re.compile(
    r"\s*[+\-\u2212]?(?:nan|inf|infinity|none|null|n/?a|undefined|missing|\u221e|\.?\d)(?![^\W\d_])",
    re.IGNORECASE,
)
_NOTHING = re.compile(r"[-\u2212\u2013\u2014?\s]*$")
_WILD_END = re.compile(r"(?:(?:\.|\\[SWD])[*+]?\??)+$")
_WILD = re.compile(r"\.|\\[SWDw]|\[\^")


@dataclass(frozen=True)
class Metrics:
    """What the patterns found in a log: a value per metric (None: not known), and what is odd."""

    values: Mapping[str, float | None] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Tell whether at least one metric has a value."""
        return any(value is not None for value in self.values.values())


def read_metrics(log: Path, patterns: Mapping[str, re.Pattern[str]]) -> Metrics:
    """Return the last number that every pattern finds in `log`; memory does not grow with the log.

    A number counts as a whole: where the pattern takes a part of one, the whole is the value, or
    there is none. Where the log says later in the same words that there is no number, there is
    none. What cannot be read, or takes a pattern too long, costs the metric and nothing else.
    """
    readers = {name: _Reader(pattern) for name, pattern in patterns.items()}
    try:
        for offset, text in pieces(log):
            for reader in readers.values():
                reader.read(offset, text)
    except OSError as error:
        problem = f"the log {log.name} cannot be read: {error.strerror}"
        return Metrics(dict.fromkeys(patterns), (problem,))
    odd = {name: problem for name, reader in readers.items() if (problem := reader.problem)}
    return Metrics(
        {name: reader.value for name, reader in readers.items()},
        tuple(f"pattern of {name!r} {problem}" for name, problem in odd.items()),
    )


class _Reader:
    """Follows one pattern through a log; `value` is its last number, `problem` what is odd."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.value: float | None = None
        self.problem = f"did not match: {pattern.pattern}"
        self._pattern, self._budget = pattern, Budget()
        parts = _parts(pattern.pattern)
        self._says_what_follows = parts is not None and not _WILD.match(parts[2])
        self._beginning = _beginning(*parts[:2], pattern.flags) if parts else None
        self._end = 0
        self._is_over = False

    def read(self, offset: int, text: str) -> None:
        """Look for the last match in a piece of the log, which begins at `offset`."""
        try:
            if not self._is_over:
                self._read(offset, text)
        except OutOfTimeError as error:
            self._is_over, self.value, self.problem = True, None, str(error)

    def _read(self, offset: int, text: str) -> None:
        self._budget.allow(_SECONDS_PER_CHARACTER * len(text))
        for last in deque(self._budget.matches(self._pattern, text), maxlen=1):
            self._end = offset + last.end()
            self._take(last, text)
        if self._beginning is not None:
            start = max(0, self._end - offset)
            for hit in self._budget.matches(self._beginning, text, start):
                self._take_later(hit, text)

    def _take(self, match: Match, text: str) -> None:
        taken = match[1] or ""
        shown = taken.strip().rstrip(".")
        start = match.start(1) + len(taken) - len(taken.lstrip())
        is_stated = self._says_what_follows and match.end() > match.end(1)
        token = whole(text, start, start + len(shown), is_stated)
        self.value, self.problem = number(token), ""
        if self.value is None:
            part = "" if token == shown else f", a part of {token!r}"
            self.problem = f"matched {taken!r}{part}, which is no number"

    def _take_later(self, hit: Match, text: str) -> None:
        """Look at a place that begins like a match and, by its line, is none."""
        if hit[1] is not None:
            return
        begun = hit[0].rstrip()
        end = hit.start() + len(begun)
        rest = text[end : end + _LONGEST_SHOWN].partition("\n")[0]
        is_none = _NO_NUMBER.match(rest) or (begun[-1:] in ":=" and _NOTHING.match(rest))
        if is_none or self.value is not None:
            said = f"{begun.rpartition(chr(10))[2][-_LONGEST_SHOWN:]}{rest.rstrip()}"
            self.value = None if is_none else self.value
            self.problem = (
                f"did not match where the log says at last {said!r}: {self._pattern.pattern}"
            )


def _beginning(head: str, group: str, flags: int) -> re.Pattern[str] | None:
    """Return a pattern that finds where a match begins, with its number or without.

    None where nothing but wild cards stands before the number.
    """
    wild = _WILD_END.search(head)
    start = head[: wild.start()] if wild else head
    words = re.sub(r"\(\?\w+\)|\\.|\[[^]]*\]", "", start)
    if not re.search(r"\w", words):
        return None
    try:
        return compile_pattern(f"{start}(?:{wild[0] if wild else ''}{group})?", flags)
    except ValueError:
        return None


def _parts(pattern: str) -> tuple[str, str, str] | None:
    """Return what stands before the number's group, the group, and what stands behind it.

    None where the group is a part of an alternative, or of another group.
    """
    depth, opened, closed = 0, -1, -1
    for token in re.finditer(r"\\.|\[\^?\]?(?:\\.|[^]\\])*\]|[()|]", pattern, re.DOTALL):
        place = token.start()
        if token[0] == "|" and depth == 0:
            return None
        if token[0] == "(":
            is_number = re.match(r"\((?!\?)|\(\?P<", pattern[place:]) is not None
            if is_number and depth:
                return None
            opened = place if is_number else opened
            depth += 1
        elif token[0] == ")":
            depth -= 1
            closed = place + 1 if depth == 0 and closed < opened else closed
    return pattern[:opened], pattern[opened:closed], pattern[closed:]
