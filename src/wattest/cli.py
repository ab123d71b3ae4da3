"""``wattest``: what is not a test run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from wattest.errors import WattestError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 1 where something cannot be measured, 4 on bad input."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except WattestError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"ERROR: {line}\n")
        return 4
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattest", description="Energy experiments on trainings: what is not a test run."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    doctor = commands.add_parser(
        "doctor", help="say what can be measured here, what cannot, why, and what would mend it"
    )
    doctor.add_argument(
        "--sysfs",
        metavar="DIR",
        type=Path,
        default=Path(os.environ.get("WATTEST_SYSFS") or "/sys"),
        help="another root for /sys (WATTEST_SYSFS)",
    )
    doctor.set_defaults(run=_doctor)
    return parser


def _doctor(options: argparse.Namespace) -> int:
    from wattest.doctor import examine

    report = examine(options.sysfs)
    sys.stdout.write("\n".join(report.lines) + "\n")
    return 0 if report.can_measure else 1
