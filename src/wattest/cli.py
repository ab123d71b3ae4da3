"""``wattest``: what is not a test run."""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from wattest.errors import EnergyError, WattestError
from wattest.plugin.options import seed, sys_root
from wattest.report.arguments import add_commands

if TYPE_CHECKING:
    from wattest.plan.load import Campaign

_SYSFS = "another root for /sys (WATTEST_SYSFS)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 4 on bad input."""
    # Python has none for a stream that was closed before it started.
    sys.stdout, sys.stderr = sys.stdout or io.StringIO(), sys.stderr or io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name may hold what an ASCII locale, or UTF-8, cannot say.
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    own = words[: words.index("--")] if "--" in words else words
    options = _parser().parse_args(own)
    options.further = words[len(own) + 1 :]
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except WattestError as error:
        for line in str(error).split("\n"):
            sys.stderr.write(f"ERROR: {line}\n")
        return 4
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return 4
    except KeyboardInterrupt:
        return 130
    return code


class _Parser(argparse.ArgumentParser):
    """One for which bad arguments are bad input, as they are for pytest."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(4, f"ERROR: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="wattest", description="Energy experiments on trainings: what is not a test run."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    doctor = commands.add_parser(
        "doctor", help="say what can be measured here, what cannot, why, and what would mend it"
    )
    doctor.add_argument("--sysfs", metavar="DIR", help=_SYSFS)
    told = "exit with 1 where these settings lack something here"
    doctor.add_argument("--config", dest="settings", metavar="SETTINGS", help=told)
    _add_places(doctor)
    doctor.set_defaults(run=_doctor, seed=None, results_dir=None)
    calibrate = commands.add_parser(
        "calibrate", help="measure known loads, and set this machine's counters against each other"
    )
    calibrate.add_argument("--sysfs", metavar="DIR", help=_SYSFS)
    calibrate.add_argument(
        "--seconds", metavar="N", type=_seconds, default=20.0, help="for each load (20)"
    )
    calibrate.add_argument("--output", metavar="FILE.json", type=Path, help="everything, as JSON")
    calibrate.set_defaults(run=_calibrate)
    plan = commands.add_parser("plan", help="show what a settings file would run, without running")
    plan.add_argument("settings", help="settings file")
    plan.add_argument("--seed", type=seed, metavar="N", help="root seed of the plan")
    plan.add_argument("--format", choices=("table", "json", "csv"), default="table")
    plan.add_argument("--results-dir", type=Path, metavar="DIR", help="records that are history")
    _add_places(plan)
    plan.set_defaults(run=_plan)
    _add_cluster(commands)
    add_commands(commands)
    init = commands.add_parser("init", help="make the project of a campaign in a new folder")
    init.add_argument("folder", type=Path, metavar="FOLDER", help="made if it is not there")
    init.set_defaults(run=_init)
    return parser


def _add_places(command: argparse.ArgumentParser) -> None:
    command.add_argument("--models-config", metavar="REGISTRY", help="registry")
    command.add_argument("--root", type=Path, metavar="DIR", help="the project's folder")


def _add_cluster(commands: Any) -> None:
    submit = commands.add_parser(
        "submit",
        usage="wattest submit SETTINGS [OPTIONS] [-- SBATCH OPTIONS]",
        help="queue a campaign as a Slurm job array: all of its plan that is missing",
        description="Fix the plan of a campaign, write the batch file of its job array, and queue"
        " the shards in which experiments are missing. Called again it continues.",
    )
    submit.add_argument("settings", help="settings file")
    submit.add_argument("--seed", type=seed, metavar="N", help="root seed of a new plan")
    submit.add_argument("--new", action="store_true",
                        help="draw a new plan where these settings have one already")  # fmt: skip
    submit.add_argument("--results-dir", type=Path, metavar="DIR", help="where records go")
    _add_places(submit)
    submit.add_argument("--shards", type=_shards, metavar="N", help="parts of the plan: one a task")
    submit.add_argument("--pytest", metavar="WORDS", default=(), type=_words,
                        help="more options for pytest")  # fmt: skip
    submit.add_argument("--without-energy", action="store_true",
                        help="let tasks run on machines without energy counters")  # fmt: skip
    submit.add_argument("--dry-run", action="store_true", help="write the file, queue nothing")
    submit.set_defaults(run=_submit)
    status = commands.add_parser("status", help="say what of a campaign is done, running, missing")
    status.add_argument("results", type=Path, metavar="RESULTS", help="folder of the records")
    status.add_argument("--csv", type=Path, metavar="FILE", help="also write all rows as one CSV")
    status.set_defaults(run=_status)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def _shards(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 100_000):
        raise argparse.ArgumentTypeError(f"{text}: from 1 to 100000 shards")
    return int(text)


def _submit(options: argparse.Namespace) -> int:
    from wattest.cluster import Request, submit

    campaign, root, results = _campaign(options, resume=not options.new)
    registry = options.models_config and str(Path(options.models_config).absolute())
    request = Request(
        root=root,
        results=results.absolute(),
        registry=registry,
        shards=options.shards,
        options=options.further,
        arguments=options.pytest,
        require_energy=not options.without_energy,
        dry_run=options.dry_run,
    )
    for warning in campaign.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    submit(campaign, request, lambda line: print(line))
    return 0


def _status(options: argparse.Namespace) -> int:
    from wattest.cluster import status_lines, write_csv

    for line in status_lines(options.results):
        sys.stdout.write(f"{line}\n")
    if options.csv is not None:
        count = write_csv(options.results, options.csv)
        sys.stdout.write(f"{options.csv}: {count} rows\n")
    return 0


def _init(options: argparse.Namespace) -> int:
    from wattest.starter import create

    for name in create(options.folder):
        sys.stdout.write(f"{name}\n")
    there = shlex.quote(str(options.folder))
    sys.stdout.write(f"\nNext: cd {there} && pytest experiments\n")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from wattest.doctor import examine

    campaign, root = None, options.root or _project_root(Path.cwd())
    if options.settings is not None:
        campaign, root, _ = _campaign(options)
    lines, is_complete = examine(sys_root(options.sysfs), root, campaign)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if is_complete else 1


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text}: from 1 to 3600 seconds")
    return seconds


def _calibrate(options: argparse.Namespace) -> int:
    """Return 1 where there is nothing to calibrate."""
    from wattest.calibration import calibrate, lines_of, store

    root = sys_root(options.sysfs)
    try:
        found = calibrate(root, options.seconds, lambda line: print(line, file=sys.stderr))
        sys.stdout.write("\n".join(lines_of(found)) + "\n")
        if options.output is not None:
            store(found, options.output)
    except EnergyError as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return 1
    return 0


def _plan(options: argparse.Namespace) -> int:
    from wattest.plan.listing import listing

    campaign, _, _ = _campaign(options)
    for warning in campaign.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    if options.format == "csv":
        # The other forms say it themselves; what was drawn could not be drawn again without it.
        sys.stderr.write(f"seed {campaign.plan.seed} ({campaign.seed_origin})\n")
    for line in listing(campaign.plan, options.format):
        sys.stdout.write(line + "\n")
    return 0


def _campaign(options: argparse.Namespace, *, resume: bool = False) -> tuple[Campaign, Path, Path]:
    """Return the campaign that the options name, the project's folder, and where records go."""
    from wattest.plan.load import DEFAULT_RESULTS, Places, load_campaign

    named = Path.cwd() / os.path.expanduser(options.settings)  # noqa: PTH111
    root = options.root or _project_root(Path.cwd(), named.parent)
    root = Path(os.path.abspath(root))  # noqa: PTH100 - links keep the name the user gave
    results = options.results_dir or root / DEFAULT_RESULTS
    places = Places(Path.cwd(), root)
    settings, registry = options.settings, options.models_config
    campaign = load_campaign(places, settings, registry, options.seed, results, resume=resume)
    return campaign, root, results


def _project_root(*starts: Path) -> Path:
    """Return the nearest folder upwards of any start that holds a registry, else the first."""
    for start in starts:
        for folder in (start, *start.parents):
            if os.path.isfile(folder / "config/models_config.json"):  # noqa: PTH113
                return folder
    return starts[0]
