"""The metrics of a training, from its log: the last match of a pattern, and whole numbers only."""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wattest.patterns import Budget, Match, OutOfTimeError, compile_pattern
from wattest.run.log import MOST_BYTES, names_escape, pieces
from wattest.run.numbers import number, whole

# Beside the time that every pattern has: a log of gigabytes is read for longer than a short one.
_SECONDS_PER_CHARACTER = 0.25 / (1 << 20)
_LONGEST_SHOWN = 40
# What a program says where it has no number; or a number of which the pattern knows nothing.
_WORD = r"[+\-\u2212]?(?i:nan|inf|infinity|none|null|n/?a|undefined|missing|\u221e)"
_END = r"(?![^\W\d_])"
_OTHER_NUMBER = r"[+\-\u2212]?\.?\d[\d.,]*(?:[eE][+\-]?\d+)?"
_SAYS_NONE = re.compile(rf"[\s:=]*(?:[\w.]*[(\[<{{\"'])*{_WORD}{_END}")
_NO_NUMBER = re.compile(rf"\s*(?:{_WORD}|[+\-\u2212]?\.?\d){_END}")
# Names the groups that stand beside a number, where there is none.
_NONE = "no_number_"
_NOTHING = re.compile(r"[-\u2212\u2013\u2014?\s]*$")
_WILD_END = re.compile(r"(?:(?:\.|\\[SWD])[*+]?\??)+$")
# In a pattern: what matches digits and no words; and what is to be left as it is.
_NUMERIC = re.compile(
    r"(?P<digits>(?:(?:\\d|\[(?:0-9|\\[d.+\-]|[.,+eE]|-)+\])(?:[+*?][?+]?|\{\d*,?\d*\})?|\\\.)+)"
    r"|\[\^?\]?(?:\\.|[^]\\])*\]|\\.",
    re.DOTALL,
)
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
        size = log.stat().st_size if patterns else 0
        for is_plain in (True, False):
            some = [one for one in readers.values() if one.is_plain is is_plain]
            for offset, text in pieces(log, is_plain) if some else ():
                for reader in some:
                    reader.read(offset, text)
    except OSError as error:
        problem = f"the log {log.name} cannot be read: {error.strerror}"
        return Metrics(dict.fromkeys(patterns), (problem,))
    odd = {name: problem for name, reader in readers.items() if (problem := reader.problem)}
    problems = [f"pattern of {name!r} {problem}" for name, problem in odd.items()]
    if size > MOST_BYTES:
        only = f"only the last {MOST_BYTES >> 20} were read"
        problems.append(f"of the {size >> 20} MiB of the log {only}")
    return Metrics({name: reader.value for name, reader in readers.items()}, tuple(problems))


class _Reader:
    """Follows one pattern through a log; `value` is its last number, `problem` what is odd."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.value: float | None = None
        self.problem = f"did not match: {pattern.pattern}"
        self._pattern, self._budget = pattern, Budget()
        self.is_plain = not names_escape(pattern)
        parts = _parts(pattern.pattern)
        self._says_what_follows = parts.is_alone and not _WILD.match(parts.behind)
        self._words, self._beginning = _beginning(parts, pattern.flags)
        self._without = _without(parts, pattern.flags)
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
        start = max(0, self._end - offset)
        if self._beginning is not None:
            for hit in self._budget.matches(self._beginning, text, start):
                self._take_later(hit, text)
        if self._without is not None:
            for hit in self._budget.matches(self._without, text, start):
                if any(hit[name] for name in hit.groupdict() if name.startswith(_NONE)):
                    self._tell(hit[0], "", is_none=True)

    def _take(self, match: Match, text: str) -> None:
        taken = match[1] or ""
        shown = taken.strip().rstrip(".")
        start = match.start(1) + len(taken) - len(taken.lstrip())
        is_stated = self._says_what_follows and match.end() > match.end(1)
        token = whole(text, start, start + len(shown), is_stated)
        self.value, self.problem = number(token), ""
        if self.value is None:
            part = "" if token == shown else f", a part of {_cut(token)!r}"
            self.problem = f"matched {_cut(taken)!r}{part}, which is no number"
        elif self._words is not None:
            words = next(self._budget.matches(self._words, text, match.start()), None)
            if words and _SAYS_NONE.match(text[words.end() : match.start(1)]):
                self._tell(match[0], "", is_none=True)

    def _take_later(self, hit: Match, text: str) -> None:
        """Look at a place that begins like a match and, by its line, is none."""
        if hit[1] is not None:
            shown = hit[1].strip().rstrip(".")
            start = hit.start(1) + len(hit[1]) - len(hit[1].lstrip())
            token = whole(text, start, start + len(shown), is_stated=True)
            if token != shown:
                self._tell(hit[0][: hit.start(1) - hit.start()], token, is_none=True)
            return
        begun = hit[0].rstrip()
        end = hit.start() + len(begun)
        rest = text[end : end + _LONGEST_SHOWN].partition("\n")[0]
        is_named = begun[-1:] in ":="
        is_none = bool(_NO_NUMBER.match(rest) or _SAYS_NONE.match(rest if is_named else rest[:0]))
        is_none = is_none or (is_named and _NOTHING.match(rest) is not None)
        if is_none or self.value is not None:
            self._tell(begun, rest, is_none)

    def _tell(self, begun: str, rest: str, is_none: bool) -> None:
        """Say what the log says at last in the pattern's words, a number that it knows or not."""
        said = f"{begun.rpartition(chr(10))[2][-_LONGEST_SHOWN:]}{rest.rstrip()}"
        self.value = None if is_none else self.value
        self.problem = f"did not match where the log says at last {said!r}: {self._pattern.pattern}"


@dataclass(frozen=True)
class _Parts:
    """A pattern: before the group of its number, the group, behind it.

    `is_alone`: the group is no part of an alternative or of another group.
    """

    before: str
    group: str
    behind: str
    is_alone: bool


def _beginning(parts: _Parts, flags: int) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
    """Return patterns of the words before a number, and of where a match begins without one.

    The first is None where the number stands directly behind the words; both are where nothing
    but wild cards stands before the number.
    """
    wild = _WILD_END.search(parts.before)
    start = parts.before[: wild.start()] if wild else parts.before
    if not parts.is_alone or not _has_words(start):
        return None, None
    try:
        words = compile_pattern(start, flags) if wild else None
        return words, compile_pattern(f"{start}(?:{wild[0] if wild else ''}{parts.group})?", flags)
    except ValueError:
        return None, None


def _without(parts: _Parts, flags: int) -> re.Pattern[str] | None:
    """Return the pattern, which also matches where its numbers are none, or others."""
    if _WILD_END.search(parts.before) or not _has_words(parts.before + parts.behind):
        return None
    end = "" if parts.behind[:1].isalpha() else _END
    value = f"(?:{parts.group}|(?P<{_NONE}>(?:{_WORD}|{_OTHER_NUMBER}){end}))"
    names = (f"{_NONE}{count}" for count in itertools.count())

    def other(found: re.Match[str]) -> str:
        is_number = found["digits"] and re.search(r"\\d|0-9", found[0])
        return f"(?:{found[0]}|(?P<{next(names)}>{_WORD}))" if is_number else found[0]

    before, behind = (_NUMERIC.sub(other, part) for part in (parts.before, parts.behind))
    try:
        return compile_pattern(f"{before}{value}{behind}", flags)
    except ValueError:
        return None


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}\u2026"


def _has_words(pattern: str) -> bool:
    return re.search(r"\w", re.sub(r"\(\?\w+\)|\\.|\[[^]]*\]", "", pattern)) is not None


def _parts(pattern: str) -> _Parts:
    """Return the parts of a pattern with one group."""
    depth, opened, level, closed, is_alone = 0, 0, -1, 0, True
    for token in re.finditer(r"\\.|\[\^?\]?(?:\\.|[^]\\])*\]|[()|]", pattern, re.DOTALL):
        place = token.start()
        if token[0] == "|":
            is_alone &= depth > 0
        elif token[0] == "(":
            if re.match(r"\((?!\?)|\(\?P<", pattern[place:]):
                opened, level = place, depth
                is_alone &= depth == 0
            depth += 1
        elif token[0] == ")":
            depth -= 1
            if depth == level and not closed:
                closed = place + 1
    return _Parts(pattern[:opened], pattern[opened:closed], pattern[closed:], is_alone)
