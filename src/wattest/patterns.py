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


class Budget:
    """Seconds of CPU time for the matching of some patterns in all of their texts."""

    def __init__(self, seconds: float | None = None) -> None:
        self._limit = self._left = LIMIT_SECONDS if seconds is None else seconds

    def allow(self, seconds: float) -> None:
        """Give more of it, for more text."""
        self._limit, self._left = self._limit + seconds, self._left + seconds

    def matches(
        self, pattern: re.Pattern[str], text: str, start: int = 0, or_begun: bool = False
    ) -> Iterator[Match]:
        """Yield the matches of a pattern from `start` on.

        With `or_begun` the last is what the end of the text may begin, its `partial` true.

        Raises:
            OutOfTimeError: the budget is used up.
        """
        began = time.process_time()
        try:
            if self._left <= 0:
                raise TimeoutError
            yield from _engine(pattern).finditer(text, start, partial=or_begun, timeout=self._left)
        except TimeoutError:
            self._left = 0.0
            raise OutOfTimeError(self._limit) from None
        finally:
            self._left -= time.process_time() - began


@cache
def _engine(pattern: re.Pattern[str]) -> regex.Pattern[str]:
    flags = [getattr(regex, name) for name in _FLAGS if pattern.flags & getattr(re, name)]
    return regex.compile(pattern.pattern, sum(flags) | regex.VERSION0)
