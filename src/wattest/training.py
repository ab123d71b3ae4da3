"""From a training to its command, and from its log to its metrics."""

from __future__ import annotations

import math
import os
import pwd
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wattest.faults import Fault, json_path
from wattest.plan import Experiment, Training
from wattest.process import Command
from wattest.programs import Program, Value

_READ_BYTES = 1 << 20
_LONGEST_LINE = 1 << 16
# Variables of the harness itself that a training must not inherit.
_PRIVATE_PREFIXES = ("PYTEST_", "COV_CORE_")
_LINE_END = re.compile(r"\r\n|\r|\n")
_LONGEST_SHOWN = 300
# Control and format characters, and line and paragraph separators: a terminal obeys some of them.
_UNSHOWN_CATEGORIES = ("Cc", "Cf", "Zl", "Zp")


def argv_of(training: Training) -> tuple[str, ...]:
    """Return ``train_script [model_flag MODEL] [required args] [flag VALUE ...]``."""
    program = training.program
    words = [program.script]
    if program.model_flag is not None:
        words += [program.model_flag, training.model]
    words += program.required_arguments
    for name, value in training.hyperparameters.items():
        words += [program.hyperparameters[name].flag, format_value(value)]
    return tuple(words)


def format_value(value: Value) -> str:
    """Return the shortest text that reads back as exactly `value` (Python's `repr`)."""
    return repr(value)


def command_of(
    training: Training,
    gpu_memory_limit_mb: int | None = None,
    run_as: tuple[int, int] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Command:
    """Return the command of a training in the caller's environment, with its program's own.

    The limit is exported as ``WATTEST_GPU_MEMORY_LIMIT_MB``; `run_as` is (uid, gid), whose home
    and name the training gets.
    """
    program = training.program
    inherited = os.environ if environment is None else environment
    variables = {
        key: value for key, value in inherited.items() if not key.startswith(_PRIVATE_PREFIXES)
    }
    python = interpreter_of(program)
    variables["PATH"] = f"{python.parent}{os.pathsep}{variables.get('PATH', os.defpath)}"
    variables["PYTHON"] = str(python)
    variables.setdefault("PYTHONUNBUFFERED", "1")
    if gpu_memory_limit_mb is not None:
        variables["WATTEST_GPU_MEMORY_LIMIT_MB"] = str(gpu_memory_limit_mb)
    if run_as is not None:
        variables.update(_login_of(run_as[0]))
    variables.update(program.environment)
    return Command(argv_of(training), program.folder, variables, run_as)


def _login_of(uid: int) -> dict[str, str]:
    """Return the variables that say who a user is and where their files lie, as a login sets them.

    Nothing is known of a user without an entry: then the caller's variables stay.
    """
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return {}
    return {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}


def interpreter_of(program: Program) -> Path:
    """Return the Python of a program: its own, relative to its folder, or the one that runs us."""
    return program.folder / (program.interpreter or sys.executable)


def program_faults(experiment: Experiment, settings_file: str, registry_file: str) -> list[Fault]:
    """Return what keeps the programs of an experiment from being started, before it is tried."""
    faults = []
    for training in (experiment.foreground, *experiment.backgrounds):
        program = training.program
        where = json_path(("models", program.name))
        needed = f"(needed by {settings_file}::{experiment.entry.path})"
        # Not Path.is_dir: it raises for a path that may not be looked at.
        if not os.path.isdir(program.folder):  # noqa: PTH112
            text = f"no such folder: {program.folder}; clone the program there, or change it"
            faults.append(Fault(registry_file, f"{where}.path", f"{text} {needed}"))
        elif not os.path.isfile(program.script_path):  # noqa: PTH113
            text = f"no such file: {program.script_path}"
            faults.append(Fault(registry_file, f"{where}.train_script", f"{text} {needed}"))
        elif not os.access(program.script_path, os.X_OK):
            text = f"is not executable; run: chmod +x '{program.script_path}'"
            faults.append(Fault(registry_file, f"{where}.train_script", f"{text} {needed}"))
        python = interpreter_of(program)
        if not (os.path.isfile(python) and os.access(python, os.X_OK)):  # noqa: PTH113
            text = f"no such program: {python}; name the Python that this program needs"
            faults.append(Fault(registry_file, f"{where}.interpreter", f"{text} {needed}"))
    return faults


@dataclass(frozen=True)
class Metrics:
    """What the patterns found in a log: a value per metric (None: not found), and why not."""

    values: Mapping[str, float | None]
    problems: tuple[str, ...]

    @property
    def found(self) -> bool:
        """Tell whether at least one metric has a value."""
        return any(value is not None for value in self.values.values())


def read_metrics(log: Path, patterns: Mapping[str, re.Pattern[str]]) -> Metrics:
    """Return the last match of every pattern in `log`; memory does not grow with the log."""
    last: dict[str, str] = {}
    for text in _windows(log):
        for name, pattern in patterns.items():
            for match in pattern.finditer(text):
                last[name] = match.group(1) or ""
    values: dict[str, float | None] = {}
    problems = []
    for name, pattern in patterns.items():
        if name not in last:
            values[name] = None
            problems.append(f"pattern of {name!r} did not match: {pattern.pattern}")
            continue
        values[name] = _number(last[name])
        if values[name] is None:
            problems.append(f"pattern of {name!r} matched {last[name]!r}, which is no number")
    return Metrics(values, tuple(problems))


def last_lines(log: Path, count: int = 15) -> list[str]:
    """Return the last lines of a log, for a message about a failure.

    They are for the eye: what a terminal would obey is written out, and a long line is cut.
    """
    lines = _LINE_END.split(end_of(log))
    if not lines[-1]:
        lines.pop()
    return [_shown(line) for line in lines[-count:]]


def end_of(log: Path) -> str:
    """Return the end of a log as it is, at most 64 KiB; empty where it cannot be read."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LONGEST_LINE))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def begin_of(log: Path) -> str:
    """Return the first 64 KiB of a log; empty where it cannot be read."""
    try:
        with log.open("rb") as file:
            return file.read(_LONGEST_LINE).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _shown(line: str) -> str:
    r"""Return a line with characters such as ESC as text (``\x1b``), and of bounded length."""
    text = "".join(map(_shown_character, line))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def _shown_character(character: str) -> str:
    if character == "\t" or unicodedata.category(character) not in _UNSHOWN_CATEGORIES:
        return character
    return character.encode("unicode_escape").decode("ascii")


def _number(text: str) -> float | None:
    """Return the number in `text`; patterns such as ``[0-9.]+`` take a full stop along."""
    try:
        value = float(text.strip().rstrip("."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _windows(log: Path) -> Iterator[str]:
    """Yield the log in pieces of whole lines, each with the last 64 KiB of the one before.

    The pieces overlap because a pattern may span lines: white space matches line ends.
    """
    kept = ""
    with log.open(encoding="utf-8", errors="replace") as file:
        while piece := file.read(_READ_BYTES):
            text = kept + piece
            end = text.rfind("\n") + 1
            if end == 0 and len(text) < _LONGEST_LINE:
                kept = text
                continue
            end = end or len(text)
            yield text[:end]
            least = max(0, end - _LONGEST_LINE)
            kept = text[text.find("\n", least, end - 1) + 1 or least :]
    if kept:
        yield kept
