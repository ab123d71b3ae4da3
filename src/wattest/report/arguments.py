"""The arguments of ``wattest report``, ``wattest compare`` and ``wattest show``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wattest.report.commands import FORMATS, attribute, compare, report, show

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


def add_report(commands: Any) -> None:
    """Add `report` to the subcommands of the command line."""
    parser = commands.add_parser(
        "report",
        help="what the load and each hyper-parameter cost, and whether to believe it",
        description=_REPORT,
        epilog=_REPORT_END,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULTS", help=_RESULTS)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="where to (HTML: report.html; else the terminal)",
    )
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        help="else by the suffix of FILE: .html .md .tex .csv .json",
    )
    parser.add_argument("--session", metavar="ID", help="only the records of this session")
    parser.add_argument("--metric", metavar="NAME", help="the metric to be shown first")
    parser.add_argument(
        "--better",
        metavar="NAME=higher|lower",
        action="append",
        default=[],
        help="which way of a metric is better, where the registry does not say",
    )
    parser.add_argument(
        "--figures", type=Path, metavar="DIR", help="leave every figure there as PDF and SVG"
    )
    parser.add_argument("--p-values", action="store_true", help="add them, with Holm's correction")
    _add_options(parser)
    parser.set_defaults(run=report)


def add_compare(commands: Any) -> None:
    """Add `compare` to the subcommands of the command line."""
    parser = commands.add_parser(
        "compare",
        help="two campaigns: what changed from one to the other; gates for CI",
        description=_COMPARE,
        epilog=_COMPARE_END,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", type=Path, metavar="A", help="results of before")
    parser.add_argument("after", type=Path, metavar="B", help="results of after")
    parser.add_argument(
        "--by",
        metavar="WHAT",
        help="what A and B differ in: gpu, driver, "
        "power_limit, cpu, kernel, governor, registry, commit, background, or a "
        "hyper-parameter",
    )
    parser.add_argument(
        "--anchor",
        metavar="CONFIGURATION",
        help="the configuration that WHAT leaves alone, as learning_rate=0.1",
    )
    parser.add_argument(
        "--fail-if",
        metavar="GATE",
        action="append",
        default=[],
        help="such as 'gpu_energy>1.05'; may be given several times",
    )
    parser.add_argument("--format", choices=("markdown", "latex", "json"), default="markdown")
    _add_options(parser)
    parser.set_defaults(run=compare)


def add_attribute(commands: Any) -> None:
    """Add `attribute` to the subcommands of the command line."""
    parser = commands.add_parser(
        "attribute",
        help="whose energy it was under a load: several definitions, each with its interval",
        description=_ATTRIBUTE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "results", type=Path, nargs="+", metavar="RECORDS", help="results folders, or records"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="else the terminal")
    parser.add_argument("--format", choices=("markdown", "latex", "json"), default="markdown")
    parser.add_argument("--session", metavar="ID", help="only the records of this session")
    parser.add_argument(
        "--model", choices=("cpu-time",), help="add the share by CPU time: a model, with a ~"
    )
    parser.set_defaults(run=attribute)


def add_show(commands: Any) -> None:
    """Add `show` to the subcommands of the command line."""
    parser = commands.add_parser(
        "show",
        help="one run: its power, when the load ran, what the gates found",
        description="Show one record: its verdict and why, power over the window, the runs of the "
        "load, what the gates found. Without -o in the terminal; the traces are read from the "
        "folder that the record names.",
    )
    parser.add_argument("record", type=Path, metavar="RECORD", help="results/EXPERIMENT.json")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="a picture (.svg, .pdf, .png) or .html"
    )
    parser.set_defaults(run=show)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--across",
        metavar="WHAT",
        action="append",
        default=[],
        help="declare that runs differ in driver, gpu, kernel …: points only",
    )
    parser.add_argument(
        "--equivalent", metavar="5%", type=_margin, help="test for equality within this margin"
    )


def _margin(text: str) -> float:
    """Return a margin such as `5%` as a share of 1."""
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no margin above 0 and below 100 %; write 5%")
    return number
