"""``wattest report``, ``wattest compare`` and ``wattest show``: what records mean."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wattest.errors import ConfigurationError, RecordError

if TYPE_CHECKING:
    from wattest.report.model import Answers
    from wattest.report.runs import Better, Reading
    from wattest.report.studies import Options

_SUFFIXES = (".html", ".pdf", ".png", ".svg")
FORMATS = {
    "html": (".html",),
    "markdown": (".md", ".markdown"),
    "latex": (".tex",),
    "csv": (".csv",),
    "json": (".json",),
}
TEXTS = ("markdown", "latex", "json")
"""Those of `compare` and `attribute`."""


def report(options: argparse.Namespace) -> int:
    """Run `wattest report`."""
    from wattest.report.answers import answer
    from wattest.report.reading import collecting_no_garbage

    form = _form(options, FORMATS)
    with collecting_no_garbage():
        reading = _read(options.results, options.session)
        answers = answer(reading, _options(options))
        if options.figures is not None:
            _leave_figures(answers, options.figures)
        text = _text(answers, form)
    output = options.output or (Path("report.html") if form == "html" else None)
    if output is None:
        _say(text)
        return 0
    _write(output, text)
    _say(f"{output}: {answers.counted} of {len(answers.runs)} runs count\n")
    return 0


def _form(options: argparse.Namespace, forms: Iterable[str]) -> str:
    """Return the format that is asked for, or that the output's name asks for; else the first."""
    known = {form: FORMATS[form] for form in forms}
    if options.format or options.output is None:
        return str(options.format or next(iter(known)))
    for form, suffixes in known.items():
        if options.output.suffix in suffixes:
            return form
    told = ", ".join(suffix for suffixes in known.values() for suffix in suffixes)
    raise ConfigurationError([f"{options.output}: no format has this suffix ({told}); or --format"])


def _text(answers: Answers, form: str) -> str:
    from wattest.report.outline import outline
    from wattest.report.tables import csv_text, json_text

    if form == "html":
        from wattest.report.reportpage import report_page

        return report_page(answers)
    if form in ("csv", "json"):
        return csv_text(answers) if form == "csv" else json_text(answers) + "\n"
    return _rendered(outline(answers), form)


def _rendered(blocks: Iterable[Any], form: str) -> str:
    from wattest.report.latex import latex
    from wattest.report.markdown import markdown

    return latex(blocks) if form == "latex" else markdown(blocks)


def _leave_figures(answers: Answers, folder: Path) -> None:
    from wattest.report.drawing import save
    from wattest.report.reportpage import report_pictures

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for picture in report_pictures(answers):
            for suffix in (".pdf", ".svg"):
                save(picture, folder / f"{picture.name}{suffix}")
    except OSError as error:
        raise RecordError(f"{folder} cannot be written: {error.strerror}") from None


def compare(options: argparse.Namespace) -> int:
    """Run `wattest compare`; return 0, or what the gates say: 1 fails, 3 is not decided."""
    from wattest.report import comparison
    from wattest.report.compared import (
        comparison_json,
        comparison_outline,
        exit_code,
        outcomes,
        parse_gates,
    )

    places = (options.before, options.after)
    readings = (_read([options.before]), _read([options.after]))
    asked = _options(options)
    compared = comparison.compare(*readings, by=options.by, anchor=options.anchor, options=asked)
    told = outcomes(parse_gates(options.fail_if, compared), compared)
    if options.format == "json":
        _say(comparison_json(compared, told, places) + "\n")
    else:
        sides = [(str(place), one) for place, one in zip(places, readings, strict=True)]
        _say(_rendered(comparison_outline(compared, told, sides), options.format))
    return exit_code(told)


def attribute(options: argparse.Namespace) -> int:
    """Run `wattest attribute`."""
    from wattest.report.attribution import attribute as found_in
    from wattest.report.blocks import Heading
    from wattest.report.outline import attribution_blocks
    from wattest.report.tables import plain_data

    form = _form(options, TEXTS)
    reading = _read(options.results, options.session)
    found = found_in(reading.runs, model=options.model == "cpu-time")
    if form == "json":
        text = json.dumps([plain_data(one) for one in found], indent=1, ensure_ascii=False) + "\n"
    else:
        blocks = [Heading(1, "Whose energy?"), *attribution_blocks(found)]
        text = _rendered(blocks, form)
    if options.output is None:
        _say(text)
    else:
        _write(options.output, text)
    return 0


def _options(options: argparse.Namespace) -> Options:
    from wattest.report.studies import Options

    return Options(
        metric=getattr(options, "metric", None),
        better=dict(map(_direction, getattr(options, "better", ()))),
        margin=options.equivalent,
        across=frozenset(_facts(options.across)),
        p_values=getattr(options, "p_values", False),
    )


def _direction(text: str) -> tuple[str, Better]:
    name, _, way = text.rpartition("=")
    if way == "higher" or way == "lower":
        return name, "higher" if way == "higher" else "lower"
    raise ConfigurationError([f"--better {text}: write NAME=higher or NAME=lower"])


def _facts(texts: Sequence[str]) -> list[str]:
    """Return the facts that `--across` names, one or several with commas between them."""
    from wattest.report.runs import NAMES

    names = [name.strip().replace("-", "_") for text in texts for name in text.split(",")]
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise ConfigurationError(
            [f"--across {name}: no such fact; there are: {', '.join(NAMES)}" for name in unknown]
        )
    return names


def _read(places: Sequence[Path], session: str | None = None) -> Reading:
    from wattest.report.reading import read_runs

    reading = read_runs(places, session, _progress if sys.stderr.isatty() else None)
    for one in reading.damage:
        sys.stderr.write(f"warning: {one.path}: {one.text}\n")
    return reading


def _progress(done: int, total: int) -> None:
    """Show how far reading has come, where it takes long; and nothing once it is done."""
    if total >= 200 and (done % 50 == 0 or done == total):
        sys.stderr.write("\r\x1b[2K" if done == total else f"\r\x1b[2Kreading {done} of {total}")
        sys.stderr.flush()


def _say(text: str) -> None:
    """Write to the terminal; that nobody reads on is no fault, and changes no exit code."""
    from wattest.report.sparkline import for_encoding

    try:
        sys.stdout.write(for_encoding(text, sys.stdout.encoding or "utf-8"))
        sys.stdout.flush()
    except OSError as error:
        # What is left of it would fail again at the end of Python.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise RecordError(f"the output cannot be written: {error.strerror}") from None


def _write(output: Path, text: str) -> None:
    from wattest.files import write_atomically

    try:
        write_atomically(output, text.removesuffix("\n"))
    except OSError as error:
        raise RecordError(f"{output} cannot be written: {error.strerror}") from None


def show(options: argparse.Namespace) -> int:
    """Run `wattest show`."""
    from wattest.report.drawing import readable
    from wattest.report.sheet import read_sheet
    from wattest.report.sparkline import sheet_lines

    sheet = read_sheet(options.record)
    if options.output is None:
        width = shutil.get_terminal_size((100, 24)).columns
        _say("".join(f"{readable(line)}\n" for line in sheet_lines(sheet, width)))
        return 0
    _leave(sheet, options.output)
    return 0


def _leave(sheet: Any, output: Path) -> None:
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
