"""The arguments of ``wattest report``, ``compare``, ``attribute`` and ``show``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wattest.report.commands import FORMATS, TEXTS, attribute, compare, report, show
from wattest.report.runs import NAMES

_REPORT = """\
What did the load cost, what does each hyper-parameter cost and give, can it be believed, and what
goes into the paper: from the records that sessions have left. Every number stands with its 95 %
interval, or with the reason for having none."""
_RESULTS = "results folders, or single records"
_REPORT_END = """\
examples:
  wattest report results                              leaves report.html
  wattest report results --format markdown            to the terminal
  wattest report results -o table.tex --session ID    one session, for LaTeX
  wattest report results --better accuracy=higher --equivalent 5%"""
_COMPARE = """\
What changed from A to B, two results folders (or records). A session moves everything by a common
factor: an interval needs an anchor, a configuration that ran in both, or three sessions a side.
What the load did is compared without: each pair has its own anchor."""
_COMPARE_END = """\
gates: NAME is duration, energy, gpu_energy, cpu_energy or a metric, with alone., parallel. or load.
before it where another than the first table is meant. Exit codes: 0 every gate holds, 1 one fails
(its whole interval is beyond the limit), 3 one is not decided or refused, 4 bad input.

examples:
  wattest compare main/results branch/results --by commit --anchor learning_rate=0.1 \\
      --fail-if 'gpu_energy>1.05' --fail-if 'test_accuracy<-0.5'
  wattest compare results-580 results-590 --by driver"""
_ATTRIBUTE = """\
Counters are machine-wide, so the energy of a training under a load is that of both. This gives the
defensible answers to "how much of it was the training's?", each over the blocks of the campaign
with its 95 % interval, or the reason for having none. It needs all arms: "baseline": "both"."""
_SHOW = """\
Show one record: its verdict and why, power over the window, the runs of the load, what the gates
found. Without -o in the terminal; the traces are read from the folder that the record names."""


def add_commands(commands: Any) -> None:
    """Add `report`, `compare`, `attribute` and `show` to the subcommands of the command line."""
    for add in (_add_report, _add_compare, _add_attribute, _add_show):
        add(commands)


def _add_report(commands: Any) -> None:
    told = "what the load and each hyper-parameter cost, and whether to believe it"
    add = _command(commands, report, told, _REPORT, _REPORT_END)
    add("results", type=Path, nargs="+", metavar="RESULTS", help=_RESULTS)
    told = "where to (HTML: report.html; else the terminal)"
    add("-o", "--output", type=Path, metavar="FILE", help=told)
    told = "else by the suffix of FILE: .html .md .tex .csv .json"
    add("--format", choices=tuple(FORMATS), help=told)
    add("--session", metavar="ID", help="only the records of this session")
    add("--metric", metavar="NAME", help="the metric to be shown first")
    told = "which way of a metric is better, where the registry does not say"
    add("--better", metavar="NAME=higher|lower", action="append", default=[], help=told)
    told = "leave every figure there as PDF and SVG"
    add("--figures", type=Path, metavar="DIR", help=told)
    add("--p-values", action="store_true", help="add them, with Holm's correction")
    _add_options(add)


def _add_compare(commands: Any) -> None:
    told = "two campaigns: what changed from one to the other; gates for CI"
    add = _command(commands, compare, told, _COMPARE, _COMPARE_END)
    add("before", type=Path, metavar="A", help="results of before")
    add("after", type=Path, metavar="B", help="results of after")
    told = f"what A and B differ in: {', '.join(NAMES)}, or a hyper-parameter"
    add("--by", metavar="WHAT", help=told)
    told = "the configuration that WHAT leaves alone, as learning_rate=0.1"
    add("--anchor", metavar="CONFIGURATION", help=told)
    told = "such as 'gpu_energy>1.05'; may be given several times"
    add("--fail-if", metavar="GATE", action="append", default=[], help=told)
    add("--format", choices=TEXTS, default="markdown")
    _add_options(add)


def _add_attribute(commands: Any) -> None:
    told = "whose energy it was under a load: several definitions, each with its interval"
    add = _command(commands, attribute, told, _ATTRIBUTE)
    add("results", type=Path, nargs="+", metavar="RECORDS", help=_RESULTS)
    add("-o", "--output", type=Path, metavar="FILE", help="else the terminal")
    add("--format", choices=TEXTS, help="else by the suffix of FILE: .md .tex .json")
    add("--session", metavar="ID", help="only the records of this session")
    told = "add the share by CPU time: a model, with a ~"
    add("--model", choices=("cpu-time",), help=told)


def _add_show(commands: Any) -> None:
    told = "one run: its power, when the load ran, what the gates found"
    add = _command(commands, show, told, _SHOW)
    add("record", type=Path, metavar="RECORD", help="results/EXPERIMENT.json")
    told = "a picture (.svg, .pdf, .png) or .html"
    add("-o", "--output", type=Path, metavar="FILE", help=told)


def _command(
    commands: Any, run: Callable[..., int], told: str, description: str, end: str | None = None
) -> Callable[..., Any]:
    """Add the subcommand that has the name of `run`; returns what adds an argument to it."""
    parser = commands.add_parser(
        run.__name__,
        help=told,
        description=description,
        epilog=end,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add: Callable[..., Any] = parser.add_argument
    return add


def _add_options(add: Callable[..., Any]) -> None:
    told = "declare that runs differ in driver, gpu, kernel …: points only"
    add("--across", metavar="WHAT", action="append", default=[], help=told)
    told = "test for equality within this margin"
    add("--equivalent", metavar="5%", type=_margin, help=told)


def _margin(text: str) -> float:
    """Return a margin such as `5%` as a share of 1."""
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no margin above 0 and below 100 %; write 5%")
    return number
