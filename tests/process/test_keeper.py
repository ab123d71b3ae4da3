"""The promise that outlives pytest: what was changed is put back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle import own_zombies

from wattest.errors import ProcessError
from wattest.process import Keeper, sweep
from wattest.process.supervisor.keeper import undo

SOURCE = Path(__file__).parents[2] / "src"
SESSION = """
import os, sys, time
from pathlib import Path
from wattest.process import Keeper
keeper = Keeper([(Path(sys.argv[1]), "powersave"), (Path(sys.argv[2]), "ondemand")])
print(keeper.guard_pid, keeper.keeper_pid, flush=True)
Path(sys.argv[1]).write_text("performance")
Path(sys.argv[2]).write_text("performance")
print("changed", flush=True)
{then}
"""


@pytest.fixture
def governors(tmp_path: Path) -> tuple[Path, Path]:
    paths = (tmp_path / "cpu0", tmp_path / "cpu1")
    for path in paths:
        path.write_text("as it was")
    return paths


@pytest.fixture
def no_zombies() -> Iterator[None]:
    yield
    assert own_zombies() == []


def session(governors: tuple[Path, Path], then: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SESSION.format(then=then), *map(str, governors)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )


def await_values(governors: tuple[Path, Path], *values: str) -> None:
    deadline = time.monotonic() + 5
    while [path.read_text() for path in governors] != list(values):
        assert time.monotonic() < deadline, [path.read_text() for path in governors]
        time.sleep(0.005)


@pytest.mark.parametrize("victims", ["session", "session guard", "session keeper", "guard session"])
def test_what_was_changed_is_put_back_when_the_session_is_killed(
    victims: str, governors: tuple[Path, Path]
) -> None:
    with session(governors, "time.sleep(60)") as process:
        assert process.stdout is not None
        guard, keeper = (int(pid) for pid in process.stdout.readline().split())
        process.stdout.readline()
        pids = {"session": process.pid, "guard": guard, "keeper": keeper}
        for victim in victims.split():
            os.kill(pids[victim], signal.SIGKILL)
        await_values(governors, "powersave", "ondemand")


@pytest.mark.parametrize("then", ["os._exit(1)", "raise SystemExit", "keeper.undo_now()"])
def test_what_was_changed_is_put_back_when_the_session_ends(
    then: str, governors: tuple[Path, Path]
) -> None:
    with session(governors, then) as process:
        assert "changed" in process.communicate(timeout=10)[0]
        await_values(governors, "powersave", "ondemand")


def test_a_kept_promise_is_not_kept_twice(governors: tuple[Path, Path]) -> None:
    then = "keeper.undo_now(); [Path(path).write_text('later') for path in sys.argv[1:]]"
    with session(governors, then) as process:
        assert "changed" in process.communicate(timeout=10)[0]
    time.sleep(0.2)
    assert [path.read_text() for path in governors] == ["later", "later"]


@pytest.mark.usefixtures("no_zombies")
def test_a_promise_that_was_kept_ends_its_keeper(governors: tuple[Path, Path]) -> None:
    keeper = Keeper([(governors[0], "powersave")])
    pids = keeper.guard_pid, keeper.keeper_pid
    keeper.undo_now()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    governors[0].write_text("later")
    keeper.undo_now()
    assert governors[0].read_text() == "later"


@pytest.mark.usefixtures("no_zombies")
@pytest.mark.parametrize("victim", ["guard_pid", "keeper_pid"])
def test_a_promise_is_kept_although_half_of_the_keeper_was_killed(
    victim: str, governors: tuple[Path, Path]
) -> None:
    keeper = Keeper([(governors[0], "powersave")])
    os.kill(getattr(keeper, victim), signal.SIGKILL)
    time.sleep(0.1)
    assert governors[0].read_text() == "as it was"
    keeper.undo_now()
    assert governors[0].read_text() == "powersave"


@pytest.mark.usefixtures("no_zombies")
def test_what_cannot_be_written_is_told_and_does_not_hinder_the_rest(
    governors: tuple[Path, Path], tmp_path: Path
) -> None:
    keeper = Keeper([(tmp_path / "gone", "powersave"), (governors[0], "powersave")])
    with pytest.raises(ProcessError, match=r"gone: cannot restore 'powersave': No such file"):
        keeper.undo_now()
    assert governors[0].read_text() == "powersave"


def test_the_end_of_an_extra_owner_counts_too(governors: tuple[Path, Path]) -> None:
    controller = subprocess.Popen(["sleep", "60"])
    keeper = Keeper([(governors[0], "powersave")], owners=[controller.pid])
    controller.kill()
    controller.wait()
    await_values(governors, "powersave", "as it was")
    keeper.undo_now()
    assert own_zombies() == []


@pytest.mark.usefixtures("alone")
def test_a_sweep_lets_the_keeper_of_a_dead_session_finish(governors: tuple[Path, Path]) -> None:
    with session(governors, "time.sleep(60)") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        process.kill()
        process.wait()
        sweep()
        assert governors[0].read_text() == "powersave"
        assert governors[1].read_text() == "ondemand"


def test_what_holds_its_value_needs_no_restoring(tmp_path: Path) -> None:
    untouched = Path("/proc/version")
    assert undo([(str(untouched), untouched.read_text())]) == []
    for path in (str(untouched), str(tmp_path)):
        (fault,) = undo([(path, "other")])
        assert fault.startswith(f"{path}: cannot restore 'other'")
