"""Fixtures of the tests of process trees; a test module names this one in `pytest_plugins`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle import Oracle, own_zombies

from wattest.process import Command, Loop, Rung, Tree
from zoo.helpers import MakeLoop, MakeTree, needs


@pytest.fixture(params=list(Rung), ids=lambda rung: rung.value)
def rung(request: pytest.FixtureRequest) -> Rung:
    """Return every rung that works here, in turn."""
    rung: Rung = request.param
    needs(rung)
    return rung


@pytest.fixture
def oracle(tmp_path: Path) -> Iterator[Oracle]:
    """Return an oracle; what it still sees at the end is killed."""
    oracle = Oracle(tmp_path)
    yield oracle
    oracle.destroy()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return the log of the trees that `make_tree` makes."""
    return tmp_path / "training.log"


@pytest.fixture
def make_tree(tmp_path: Path, log: Path) -> Iterator[MakeTree]:
    """Make trees that are closed at the end, and leave no zombie of a guard."""
    trees: list[Tree] = []

    def make(*argv: str, environment: dict[str, str] | None = None, **settings: object) -> Tree:
        full = {"PATH": os.environ["PATH"], **(environment or {})}
        tree = Tree(Command(argv, tmp_path, full), log, **settings)  # type: ignore[arg-type]
        trees.append(tree)
        return tree

    yield make
    for tree in trees:
        tree.close()
    assert own_zombies() == []


@pytest.fixture
def log_folder(tmp_path: Path) -> Path:
    """Return the log folder of the loops that `make_loop` makes."""
    return tmp_path / "background logs"


@pytest.fixture
def make_loop(tmp_path: Path, log_folder: Path) -> Iterator[MakeLoop]:
    """Make loops that are closed at the end, and leave no zombie of a guard."""
    loops: list[Loop] = []

    def make(*argv: str, folder: Path = log_folder, **settings: object) -> Loop:
        command = Command(argv, tmp_path, {"PATH": os.environ["PATH"]})
        loop = Loop(command, folder, **settings)  # type: ignore[arg-type]
        loops.append(loop)
        return loop

    yield make
    for loop in loops:
        loop.close()
    assert own_zombies() == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a new folder that everybody can use, on a path that everybody can walk."""
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)
