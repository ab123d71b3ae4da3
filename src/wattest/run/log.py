"""The log of a training: in pieces, its beginning, its end."""

from __future__ import annotations

import io
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from wattest.files import open_regular

_READ_BYTES = 1 << 20
_LONGEST_LINE = 1 << 16
# Nobody can interrupt it while a log is read, and one with a hole may be as large as the disk.
MOST_BYTES = 4 << 30
_LINE_END = re.compile(r"\r\n|\r|\n")
_LONGEST_SHOWN = 300
# What a terminal obeys (colours, mostly), and the longest of it that a piece may end within.
_OBEYED = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]")
_LONGEST_OBEYED = 32
_NAMES_ESCAPE = re.compile(r"\\x1b|\\033|\\u001b|\x1b", re.IGNORECASE)
# Control and format characters, and line and paragraph separators: a terminal obeys some of them.
_UNSHOWN_CATEGORIES = ("Cc", "Cf", "Zl", "Zp")


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
        with open_regular(log) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most_bytes))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def begin_of(log: Path) -> str:
    """Return the first 64 KiB of a log; empty where it cannot be read."""
    try:
        with open_regular(log) as file:
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


def pieces(log: Path, is_plain: bool = True) -> Iterator[tuple[int, str]]:
    """Yield the log in pieces of whole lines, each with its place and the last 64 KiB before it.

    The pieces overlap because a pattern may span lines: white space matches line ends. Places are
    counted in characters. A plain log is without the colours that a terminal would show. Of a log
    of more than `MOST_BYTES` it is the end alone.

    Raises:
        OSError: it is no file, or cannot be read.
    """
    kept, cut, place, seen = "", "", 0, 0
    with io.TextIOWrapper(open_regular(log), encoding="utf-8", errors="replace") as file:
        file.buffer.seek(max(0, file.buffer.seek(0, os.SEEK_END) - MOST_BYTES))
        while piece := file.read(_READ_BYTES):
            if is_plain:
                piece, cut = plain(cut + piece)
            text = kept + piece
            end = text.rfind("\n", seen) + 1
            if len(text) - max(end, seen) >= _LONGEST_LINE:
                end = len(text)
            if end == 0:
                kept = text
                continue
            yield place, text[:end]
            least = max(0, end - _LONGEST_LINE)
            begin = text.find("\n", least, end - 1) + 1 or least
            kept, place, seen = text[begin:], place + begin, end - begin
    if kept[seen:] + cut:
        yield place, kept + cut


def names_escape(pattern: re.Pattern[str]) -> bool:
    """Tell whether a pattern is about what a terminal obeys, which is else no part of a log."""
    return _NAMES_ESCAPE.search(pattern.pattern) is not None


def plain(text: str) -> tuple[str, str]:
    """Return a text without colours, and its end where it may be the beginning of one."""
    text = _OBEYED.sub("", text)
    place = text.rfind("\x1b", max(0, len(text) - _LONGEST_OBEYED))
    return (text, "") if place < 0 else (text[:place], text[place:])
