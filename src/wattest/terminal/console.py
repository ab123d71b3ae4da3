"""What a person sees while a campaign runs: one short line per event, and one live line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Protocol


def shown(path: Path) -> str:
    """Return `path` as seen from the current folder where it lies below it."""
    # A training may remove the very folder.
    with suppress(FileNotFoundError):
        here = Path.cwd()
        return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
    return str(path)


class _Reporter(Protocol):
    """The part of pytest's terminal reporter that is used here."""

    isatty: bool

    def write_line(self, line: str, **markup: bool) -> None: ...
    def write(self, content: str, *, flush: bool = False, **markup: bool) -> None: ...
    def ensure_newline(self) -> None: ...
    def flush(self) -> None: ...


class Console:
    """Writes event lines through pytest's reporter; silent where there is none or it is gone.

    Nothing is late: Python buffers what goes into a file or a pipe, and who follows a campaign
    with `tail -f` would see each line hours after the event. The live line is shown on a terminal
    only, and never in CI.

    Args:
        reporter: pytest's; None in an xdist worker.
        verbosity: pytest's: below 0 only warnings are shown, from 1 on also details.
        uncaptured: suspends pytest's capturing of what a test writes.
    """

    def __init__(
        self,
        reporter: _Reporter | None,
        verbosity: int = 0,
        uncaptured: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._reporter = reporter
        self._verbosity = verbosity
        self._uncaptured = uncaptured
        self._width = shutil.get_terminal_size().columns
        self._live_shown = False

    @property
    def is_live(self) -> bool:
        """Tell whether a live line can be shown."""
        is_terminal = self._reporter is not None and self._reporter.isatty
        return is_terminal and self._verbosity >= 0 and not os.environ.get("CI")

    def title(self, text: str) -> None:
        """Say which experiment begins."""
        if self._verbosity >= 0:
            self._write(text, bold=True)

    def step(self, label: str, text: str) -> None:
        """Say what has just happened."""
        if self._verbosity >= 0:
            self._write(f"  {label:<10} {text}")

    def detail(self, label: str, text: str) -> None:
        """Say what only matters to someone who looks closely."""
        if self._verbosity >= 1:
            self._write(f"  {label:<10} {text}")

    def warn(self, text: str) -> None:
        """Say what may not be overlooked."""
        self._write(f"  {'warning':<10} {text}", yellow=True)

    def live(self, text: str) -> None:
        """Show `text` in place of the live line before."""
        with self._until_nobody_reads():
            if self._reporter is not None and self.is_live:
                if not self._live_shown:
                    self._reporter.ensure_newline()
                self._reporter.write(f"\r\x1b[2K{text[: self._width - 1]}", flush=True)
                self._live_shown = True

    def clear_live(self) -> None:
        """Remove the live line."""
        with self._until_nobody_reads():
            if self._reporter is not None and self._live_shown:
                self._reporter.write("\r\x1b[2K", flush=True)
        self._live_shown = False

    def _write(self, line: str, **markup: bool) -> None:
        self.clear_live()
        with self._until_nobody_reads():
            if self._reporter is not None:
                self._reporter.ensure_newline()
                self._reporter.write_line(line, **markup)
                self._reporter.flush()

    @contextmanager
    def _until_nobody_reads(self) -> Iterator[None]:
        """Fall silent for good once nothing can be written: that costs no finished training."""
        try:
            with self._uncaptured():
                yield
        except OSError:
            self._reporter = None
