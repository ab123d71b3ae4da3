"""What a person sees while a campaign runs: one short line per event."""

from __future__ import annotations

from typing import Protocol


class Writer(Protocol):
    """The part of pytest's terminal reporter that is used here."""

    def write_line(self, line: str, **markup: bool) -> None:
        """Write one line."""

    def ensure_newline(self) -> None:
        """End a line that was begun."""


class Console:
    """Writes event lines through pytest's own writer; silent where there is none.

    `verbosity` is pytest's: below 0 only warnings are shown, from 1 on also details.
    """

    def __init__(self, writer: Writer | None, verbosity: int = 0) -> None:
        self._writer = writer
        self._verbosity = verbosity

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
        if self._verbosity >= 0:
            self._write(f"  {label:<10} {text}")

    def warn(self, text: str) -> None:
        """Say what may not be overlooked."""
        self._write(f"  warning    {text}", yellow=True)

    def _write(self, line: str, **markup: bool) -> None:
        if self._writer is not None:
            self._writer.ensure_newline()
            self._writer.write_line(line, **markup)
