"""``wattest show``: one run."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from wattest.errors import RecordError

_SUFFIXES = (".html", ".pdf", ".png", ".svg")


def add_show(commands: Any) -> None:
    """Add `show` to the subcommands of the command line."""
    show = commands.add_parser(
        "show", help="one run: its power, when the load ran, what the gates found",
        description="Show one record: its verdict and why, power over the window, the runs of the "
        "load, what the gates found. Without -o in the terminal; the traces are read from the "
        "folder that the record names.",
    )  # fmt: skip
    show.add_argument("record", type=Path, metavar="RECORD", help="results/EXPERIMENT.json")
    show.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="a picture (.svg, .pdf, .png) or .html"
    )
    show.set_defaults(run=_show)


def _show(options: argparse.Namespace) -> int:
    from wattest.report.sheet import read_sheet
    from wattest.report.sparkline import for_encoding, sheet_lines

    sheet = read_sheet(options.record)
    if options.output is None:
        width = shutil.get_terminal_size((100, 24)).columns
        for line in sheet_lines(sheet, width):
            sys.stdout.write(for_encoding(line, sys.stdout.encoding or "utf-8") + "\n")
        return 0
    _leave(sheet, options.output)
    return 0


def _leave(sheet: Any, output: Path) -> None:
    """Write a sheet as what the suffix of its name says."""
    from wattest.report.drawing import save
    from wattest.report.page import sheet_page
    from wattest.report.sheetfigure import sheet_picture

    if output.suffix not in _SUFFIXES:
        known = ", ".join(_SUFFIXES)
        raise RecordError(f"{output}: no form of a sheet has this suffix: {known}")
    try:
        if output.suffix == ".html":
            output.write_text(sheet_page(sheet), encoding="utf-8")
        else:
            save(sheet_picture(sheet), output)
    except OSError as error:
        raise RecordError(f"{output} cannot be written: {error.strerror}") from None
