"""A training's command is what the registry says, with exactly the values of its record."""

from __future__ import annotations

import pwd
from typing import Any

import pytest

from conftest import Project, toy_registry
from wattest.plan.experiment import Training
from wattest.run.command import Launcher, argv_of

TOY: dict[str, Any] = {"repo": "toy", "model": "small"}


def planned(project: Project, **hyperparameters: float) -> Training:
    """Return the foreground of the one experiment with these values."""
    project.settings({**TOY, "hyperparameters": hyperparameters})
    return project.plan().experiments[0].foreground


def test_the_command_follows_the_registry_and_leaves_null_defaults_out(project: Project) -> None:
    assert argv_of(planned(project, learning_rate=5.123456789e-06)) == (
        "./train.sh", "-n", "small", "--lr", "5.123456789e-06", "-e", "10",
    )  # fmt: skip


def test_values_read_back_bit_for_bit(project: Project) -> None:
    for value in (5.123456789e-06, 0.1 + 0.2, 1e-300, 3.0):
        words = argv_of(planned(project, learning_rate=value))
        assert float(words[words.index("--lr") + 1]) == value
    assert argv_of(planned(project, epochs=7))[-1] == "7"


def test_a_training_that_runs_as_another_user_gets_that_users_home_and_name(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = toy_registry()
    known["models"]["toy"]["environment"] = {"LOGNAME": "of the program"}
    project.registry(known)
    training = planned(project)
    for name, value in {"HOME": "/root", "USER": "root", "LOGNAME": "root", "LANG": "C"}.items():
        monkeypatch.setenv(name, value)
    user = pwd.getpwnam("nobody")
    told = Launcher(run_as=(user.pw_uid, user.pw_gid)).command(training).environment
    assert (told["HOME"], told["USER"], told["LANG"]) == (user.pw_dir, "nobody", "C")
    assert told["LOGNAME"] == "of the program", "a program's own variables win"
    assert Launcher().command(training).environment["HOME"] == "/root"
