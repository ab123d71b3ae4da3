"""A training's command is what the registry says, with exactly the values of its record."""

from __future__ import annotations

import pwd
import subprocess
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


def test_a_flag_that_ends_in_an_equals_sign_makes_one_word_with_its_value(tmp_path: Path) -> None:
    known = toy_registry()
    known["models"]["toy"]["model_flag"] = "model="
    known["models"]["toy"]["supported_hyperparams"]["learning_rate"] |= {
        "flag": "--lr=", "range": [-1, 1], "distribution": "uniform"
    }  # fmt: skip
    entry = {**FIXED, "hyperparameters": {"learning_rate": -4.09e-05}}
    training = plan(tmp_path, entry, known=known).experiments[0].foreground
    assert argv_of(training) == ("./train.sh", "model=small", "--lr=-4.09e-05", "-e", "10")


def test_what_is_meant_for_pytest_reaches_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True)
    ours = ["GIT_DIR", "GIT_PREFIX", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "COV_CORE_SOURCE",
            "COVERAGE_PROCESS_START", "COVERAGE_RCFILE", "PYTHONWARNINGS", "PYTHONTRACEMALLOC",
            *local.stdout.split()]  # fmt: skip
    theirs = {"PYTHONPATH": "/mine", "PYTHONHASHSEED": "0", "GIT_AUTHOR_NAME": "me", "LR": "1",
              "PYTHONHOME": "/usr"}  # fmt: skip
    for name in ours:
        monkeypatch.setenv(name, "x")
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    known = toy_registry()
    known["models"]["toy"]["environment"] = {"COVERAGE_RCFILE": "of the program"}
    known["models"]["busy"] = {**known["models"]["busy"], "interpreter": "/usr/bin/python3"}
    experiments = plan(tmp_path, FIXED, {**FIXED, "repo": "busy"}, known=known).experiments
    told, other = (Launcher().command(one.foreground).environment for one in experiments)
    assert [name for name in ours if name in told] == ["COVERAGE_RCFILE"]
    assert told["COVERAGE_RCFILE"] == "of the program", "a program's own variables win"
    assert theirs.items() <= told.items()
    assert "PYTHONHOME" not in other, "another Python has another library"
