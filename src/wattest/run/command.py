"""From a training to its command, and from a command to its supervised process tree."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wattest.config.program import interpreter_of
from wattest.errors import ProcessError
from wattest.machine.software import Versions, named_python, versions_of
from wattest.machine.variables import for_training
from wattest.plan.experiment import Training
from wattest.process import Command, Loop, Rung, Tree, probe


@dataclass(frozen=True)
class Launcher:
    """How a session starts its trainings, foregrounds and loads alike.

    Attributes:
        rung: What holds their process trees together.
        owners: PIDs beside this process that they must not outlive.
        run_as: (uid, gid) of the user who runs them; None for the one who runs pytest.
    """

    rung: Rung = Rung.GUARD
    owners: tuple[int, ...] = ()
    run_as: tuple[int, int] | None = None

    @classmethod
    def by(
        cls, supervision: str | None, owners: tuple[int, ...], run_as: tuple[int, int] | None
    ) -> Launcher:
        """Return what starts trainings on the rung of this name, else on what is advised here.

        Raises:
            ProcessError: this machine does not grant that rung; the message says why.
        """
        mechanisms = probe()
        rung = mechanisms.default if supervision is None else Rung(supervision)
        if supervision is not None and not mechanisms.is_available(rung):
            raise ProcessError(f"--supervision {supervision}: {mechanisms.reason_against(rung)}")
        return cls(rung, owners, run_as)

    def command(self, training: Training, gpu_memory_limit_mb: int | None = None) -> Command:
        """Return the command of a training in this process's environment, with its program's own.

        The limit is exported as ``WATTEST_GPU_MEMORY_LIMIT_MB``. Under `run_as` the training gets
        that user's home and name, and none of this user's ``XDG_`` folders.
        """
        program = training.program
        python = interpreter_of(program)
        variables = for_training(os.environ, same_python=python == Path(sys.executable))
        variables["PATH"] = f"{python.parent}{os.pathsep}{variables.get('PATH', os.defpath)}"
        variables["PYTHON"] = str(python)
        variables.setdefault("PYTHONUNBUFFERED", "1")
        if gpu_memory_limit_mb is not None:
            variables["WATTEST_GPU_MEMORY_LIMIT_MB"] = str(gpu_memory_limit_mb)
        if self.run_as is not None and self.run_as[0] != os.geteuid():
            variables = {key: text for key, text in variables.items() if key[:4] != "XDG_"}
            variables.update(_login_of(self.run_as[0]))
        variables.update(program.environment)
        return Command(argv_of(training), program.folder, variables, self.run_as)

    def versions(self, trainings: Iterable[Training]) -> dict[str, Versions]:
        """Return the versions of what trains, by program; every interpreter is asked once."""
        asked: dict[tuple[Path, tuple[tuple[str, str], ...]], Versions] = {}
        found: dict[str, Versions] = {}
        for training in trainings:
            program = training.program
            if program.name in found:
                continue
            environment = self.command(training).environment
            default = interpreter_of(program)
            python = named_python(program.script_path, environment["PATH"], default)
            key = python, tuple(sorted(program.environment.items()))
            if key not in asked:
                asked[key] = versions_of(python, environment, self.run_as)
            found[program.name] = asked[key]
        return found

    def tree(self, command: Command, log: Path) -> Tree:
        """Return a process tree for one run of a command; it is not started yet."""
        return Tree(command, log, rung=self.rung, owners=self.owners)

    def loop(self, command: Command, log_folder: Path) -> Loop:
        """Return an endless loop of runs of a command; it is not started yet."""
        return Loop(command, log_folder, rung=self.rung, owners=self.owners, notes_runs=True)


def argv_of(training: Training) -> tuple[str, ...]:
    """Return ``train_script [model_flag MODEL] [required args] [flag VALUE ...]``.

    A flag that ends in ``=`` makes one word with its value.
    """
    program = training.program
    words = [program.script]
    if program.model_flag is not None:
        words += _flagged(program.model_flag, training.model)
    words += program.required_arguments
    for name, value in training.hyperparameters.items():
        # The shortest text that reads back as exactly this value.
        words += _flagged(program.hyperparameters[name].flag, repr(value))
    return tuple(words)


def _flagged(flag: str, value: str) -> list[str]:
    return [flag + value] if flag.endswith("=") else [flag, value]


def _login_of(uid: int) -> dict[str, str]:
    """Return the variables that say who a user is and where their files lie, as a login sets them.

    Nothing is known of a user without an entry: then the caller's variables stay.
    """
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return {}
    return {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
