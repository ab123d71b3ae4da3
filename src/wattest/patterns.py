"""Regular expressions that users write: their matching is bounded, whatever they say.

They are valid by `re`, and run by the `regex` library, whose matching can be given a time. Both
agree on what `re` accepts, but for POSIX classes (`[[:digit:]]`) and fuzzy counts (`{e<=1}`), which
only `regex` knows.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import cache
from typing import TypeAlias

import regex

LIMIT_SECONDS = 5.0
Match: TypeAlias = "regex.Match[str]"
_FLAGS = ("ASCII", "DOTALL", "IGNORECASE", "MULTILINE", "VERBOSE")


class OutOfTimeError(Exception):
    """A pattern took more time than it was given; the text names the time and the remedy."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"took more than {seconds:.1f} s: it backtracks without end; write it without nested"
            " repetition"
        )


def compile_pattern(text: str, flags: int = re.MULTILINE) -> re.Pattern[str]:
    """Return a pattern whose ``^`` and ``$`` are those of a line, unless `flags` say otherwise.

    Raises:
        ValueError: it is no regular expression; the message says why.
    """
    try:
        pattern = re.compile(text, flags)
        _engine(pattern)
    except (re.error, regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return pattern


class BoundedPattern:
    """A pattern that has so many seconds of CPU time for all texts together; `allow` adds to it."""

    def __init__(self, pattern: re.Pattern[str], limit_seconds: float | None = None) -> None:
        self._engine = _engine(pattern)
        self._left_seconds = LIMIT_SECONDS if limit_seconds is None else limit_seconds
        self._limit_seconds = self._left_seconds

    def allow(self, seconds: float) -> None:
        """Give it more time, for more text."""
        self._limit_seconds += seconds
        self._left_seconds += seconds

    def matches(self, text: str, start: int = 0) -> Iterator[Match]:
        """Yield its matches from `start` on.

        Raises:
            OutOfTimeError: its time is used up.
        """
        began = time.process_time()
        try:
            if self._left_seconds <= 0:
                raise TimeoutError
            yield from self._engine.finditer(text, start, timeout=self._left_seconds)
        except TimeoutError:
            self._left_seconds = 0.0
            raise OutOfTimeError(self._limit_seconds) from None
        finally:
            self._left_seconds -= time.process_time() - began


@cache
def _engine(pattern: re.Pattern[str]) -> regex.Pattern[str]:
    flags = [getattr(regex, name) for name in _FLAGS if pattern.flags & getattr(re, name)]
    return regex.compile(pattern.pattern, sum(flags) | regex.VERSION0)
