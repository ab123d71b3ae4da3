"""The log of a training: its metrics, its beginning, its end."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_READ_BYTES = 1 << 20
_LONGEST_LINE = 1 << 16
_LINE_END = re.compile(r"\r\n|\r|\n")
_LONGEST_SHOWN = 300
# Control and format characters, and line and paragraph separators: a terminal obeys some of them.
_UNSHOWN_CATEGORIES = ("Cc", "Cf", "Zl", "Zp")


@dataclass(frozen=True)
class Metrics:
    """What the patterns found in a log: a value per metric (None: not found), and why not."""

    values: Mapping[str, float | None] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Tell whether at least one metric has a value."""
        return any(value is not None for value in self.values.values())


def read_metrics(log: Path, patterns: Mapping[str, re.Pattern[str]]) -> Metrics:
    """Return the last match of every pattern in `log`; memory does not grow with the log."""
    last: dict[str, str] = {}
    for text in _windows(log):
        for name, pattern in patterns.items():
            for match in pattern.finditer(text):
                last[name] = match.group(1) or ""
    values = {name: _number(last[name]) if name in last else None for name in patterns}
    problems = [
        f"pattern of {name!r} matched {last[name]!r}, which is no number"
        if name in last
        else f"pattern of {name!r} did not match: {patterns[name].pattern}"
        for name, value in values.items()
        if value is None
    ]
    return Metrics(values, tuple(problems))


def last_lines(log: Path, count: int = 15) -> list[str]:
    """Return the last lines of a log, for a message about a failure.

    They are for the eye: what a terminal would obey is written out, and a long line is cut.
    """
    lines = _LINE_END.split(end_of(log))
    if not lines[-1]:
        lines.pop()
    return [_shown(line) for line in lines[-count:]]


def end_of(log: Path, most_bytes: int = _LONGEST_LINE) -> str:
    """Return the end of a log as it is, at most 64 KiB; empty where it cannot be read."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most_bytes))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def begin_of(log: Path) -> str:
    """Return the first 64 KiB of a log; empty where it cannot be read."""
    try:
        with log.open("rb") as file:
            return file.read(_LONGEST_LINE).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _shown(line: str) -> str:
    r"""Return a line with characters such as ESC as text (``\x1b``), and of bounded length."""
    text = "".join(map(_shown_character, line))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def _shown_character(character: str) -> str:
    if character == "\t" or unicodedata.category(character) not in _UNSHOWN_CATEGORIES:
        return character
    return character.encode("unicode_escape").decode("ascii")


def _number(text: str) -> float | None:
    """Return the number in `text`; patterns such as ``[0-9.]+`` take a full stop along."""
    try:
        value = float(text.strip().rstrip("."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _windows(log: Path) -> Iterator[str]:
    """Yield the log in pieces of whole lines, each with the last 64 KiB of the one before.

    The pieces overlap because a pattern may span lines: white space matches line ends.
    """
    kept = ""
    with log.open(encoding="utf-8", errors="replace") as file:
        while piece := file.read(_READ_BYTES):
            text = kept + piece
            end = text.rfind("\n") + 1
            if end == 0 and len(text) < _LONGEST_LINE:
                kept = text
                continue
            end = end or len(text)
            yield text[:end]
            least = max(0, end - _LONGEST_LINE)
            kept = text[text.find("\n", least, end - 1) + 1 or least :]
    if kept:
        yield kept
