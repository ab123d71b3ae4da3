"""Writes to the terminal while a test runs, past pytest's capturing of its output."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from wattest.terminal.console import Writer

if TYPE_CHECKING:
    import pytest


class Reporter(Writer, Protocol):
    """The part of pytest's terminal reporter that is used here."""

    def flush(self) -> None:
        """Write out what is buffered."""


class LiveWriter:
    """Pytest's terminal reporter, with capturing suspended for each write, and never late.

    Python buffers what goes into a file or a pipe: who follows a campaign with `tail -f` would see
    each line hours after the event.
    """

    def __init__(self, reporter: Reporter, uncaptured: Callable[[], AbstractContextManager[None]]):
        self._reporter = reporter
        self._uncaptured = uncaptured
        self.isatty = reporter.isatty

    def write_line(self, line: str, **markup: bool) -> None:
        """Write one line."""
        with self._uncaptured():
            self._reporter.ensure_newline()
            self._reporter.write_line(line, **markup)
            self._reporter.flush()

    def write(self, content: str, *, flush: bool = False, **markup: bool) -> None:
        """Write without ending the line."""
        with self._uncaptured():
            self._reporter.write(content, flush=flush, **markup)

    def ensure_newline(self) -> None:
        """End a line that was begun."""
        with self._uncaptured():
            self._reporter.ensure_newline()


def live_writer(config: pytest.Config) -> LiveWriter | None:
    """Return the writer of this session; None where there is no terminal (an xdist worker)."""
    plugins = config.pluginmanager
    reporter = plugins.get_plugin("terminalreporter")
    if reporter is None:
        return None
    capture = plugins.get_plugin("capturemanager")
    return LiveWriter(reporter, capture.global_and_fixture_disabled if capture else nullcontext)
