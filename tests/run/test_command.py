"""A training's command is what the registry says, with exactly the values of its record."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest
from planning import FIXED, plan

from conftest import toy_registry
from wattest.plan.experiment import Training
from wattest.run.command import Launcher, argv_of


def planned(folder: Path, **hyperparameters: float) -> Training:
    """Return the foreground of the one experiment with these values."""
    return plan(folder, {**FIXED, "hyperparameters": hyperparameters}).experiments[0].foreground


def test_the_command_follows_the_registry_and_leaves_null_defaults_out(tmp_path: Path) -> None:
    assert argv_of(planned(tmp_path, learning_rate=5.123456789e-06)) == (
        "./train.sh", "-n", "small", "--lr", "5.123456789e-06", "-e", "10",
    )  # fmt: skip


def test_values_read_back_bit_for_bit(tmp_path: Path) -> None:
    for value in (5.123456789e-06, 0.1 + 0.2, 1e-300, 3.0):
        words = argv_of(planned(tmp_path, learning_rate=value))
        assert float(words[words.index("--lr") + 1]) == value
    assert argv_of(planned(tmp_path, epochs=7))[-1] == "7"


def test_a_training_that_runs_as_another_user_gets_that_users_home_and_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = toy_registry()
    known["models"]["toy"]["environment"] = {"LOGNAME": "of the program"}
    training = plan(tmp_path, FIXED, known=known).experiments[0].foreground
    for name, value in {"HOME": "/root", "USER": "root", "LOGNAME": "root", "LANG": "C"}.items():
        monkeypatch.setenv(name, value)
    user = pwd.getpwnam("nobody")
    told = Launcher(run_as=(user.pw_uid, user.pw_gid)).command(training).environment
    assert (told["HOME"], told["USER"], told["LANG"]) == (user.pw_dir, "nobody", "C")
    assert told["LOGNAME"] == "of the program", "a program's own variables win"
    assert Launcher().command(training).environment["HOME"] == "/root"
