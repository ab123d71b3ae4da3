"""What a person sees while a campaign runs: one short line per event, and one live line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol


def shown(path: Path) -> str:
    """Return `path` as seen from the current folder where it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


class Writer(Protocol):
    """The part of pytest's terminal reporter that is used here."""

    isatty: bool

    def write_line(self, line: str, **markup: bool) -> None:
        """Write one line."""

    def write(self, content: str, *, flush: bool = False, **markup: bool) -> None:
        """Write without ending the line."""

    def ensure_newline(self) -> None:
        """End a line that was begun."""


class Console:
    """Writes event lines through pytest's own writer; silent where there is none or it is gone.

    `verbosity` is pytest's: below 0 only warnings are shown, from 1 on also details. The live line
    is shown on a terminal only, and never in CI.
    """

    def __init__(self, writer: Writer | None, verbosity: int = 0, width: int = 80) -> None:
        self._writer = writer
        self._verbosity = verbosity
        self._width = width
        self._live_shown = False

    @property
    def is_live(self) -> bool:
        """Tell whether a live line can be shown."""
        return (
            self._writer is not None
            and self._writer.isatty
            and self._verbosity >= 0
            and not os.environ.get("CI")
        )

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
        if self._writer is not None and self.is_live:
            with self._until_nobody_reads():
                if not self._live_shown:
                    self._writer.ensure_newline()
                self._writer.write(f"\r\x1b[2K{text[: self._width - 1]}", flush=True)
            self._live_shown = True

    def clear_live(self) -> None:
        """Remove the live line."""
        if self._writer is not None and self._live_shown:
            with self._until_nobody_reads():
                self._writer.write("\r\x1b[2K", flush=True)
            self._live_shown = False

    def _write(self, line: str, **markup: bool) -> None:
        self.clear_live()
        if self._writer is not None:
            with self._until_nobody_reads():
                self._writer.ensure_newline()
                self._writer.write_line(line, **markup)

    @contextmanager
    def _until_nobody_reads(self) -> Iterator[None]:
        """Fall silent for good once nothing can be written: that costs no finished training."""
        try:
            yield
        except OSError:
            self._writer = None
