"""How a training ended, in words that say what may have ended it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from zoo.helpers import MakeLoop, MakeTree, finish

from wattest.errors import ProcessError
from wattest.process import cgroup, ending, how_it_ended

pytest_plugins = ["zoo.fixtures"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (0, "ended with exit code 0"),
        (3, "ended with exit code 3"),
        (127, "ended with exit code 127"),
        (128, "ended with exit code 128"),
        (255, "ended with exit code 255"),
        (143, "ended with exit code 143 (128 + 15: SIGTERM)"),
        (-15, "was ended by signal 15 (SIGTERM)"),
        (-50, "was ended by signal 50"),
    ],
)
def test_an_ending_names_the_signal_where_there_was_one(code: int, told: str) -> None:
    assert ending(code) == how_it_ended(code) == told


@pytest.mark.parametrize("code", [-9, 137])
def test_a_sigkill_of_none_of_ours_hints_at_the_memory(code: int) -> None:
    assert "out of memory: see dmesg | grep -i oom" in how_it_ended(code)
    assert "the kernel has killed for lack of memory" in how_it_ended(code, oom_kills=1)
    assert " after 3 s: by none of ours" in how_it_ended(code, " after 3 s")


def test_a_bus_error_and_a_segmentation_fault_have_their_hints() -> None:
    assert "/dev/shm" in how_it_ended(-7)
    assert "native code" in how_it_ended(139)


def test_processes_that_the_kernel_kills_meanwhile_are_counted(
    make_tree: MakeTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "own_folder", lambda: tmp_path)
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    tree = make_tree("true")
    events.write_text("low 0\noom 5\noom_kill 4\noom_group_kill 0\n")
    tree.start()
    assert finish(tree).oom_kills == 2


def test_where_nobody_counts_them_none_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_cgroup() -> Path:
        raise ProcessError("no cgroup v2 file system is mounted")

    monkeypatch.setattr(cgroup, "own_folder", lambda: tmp_path)
    assert cgroup.oom_kills() == 0
    monkeypatch.setattr(cgroup, "own_folder", no_cgroup)
    assert cgroup.oom_kills() == 0


def test_a_load_that_is_killed_again_and_again_says_so_too(make_loop: MakeLoop) -> None:
    loop = make_loop("sh", "-c", "kill -KILL $$", backoff_seconds=0.001)
    loop.start()
    deadline = time.monotonic() + 10
    while (news := loop.poll()) is None:
        assert time.monotonic() < deadline
    assert "was ended by signal 9 (SIGKILL) after" in news
    assert "out of memory" in news
