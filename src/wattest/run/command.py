"""From a training to its command, and from its log to its metrics."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

from wattest.config.program import Value, interpreter_of
from wattest.plan.experiment import Training
from wattest.process import Command

# Variables of the harness itself that a training must not inherit.
_PRIVATE_PREFIXES = ("PYTEST_", "COV_CORE_")


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
