"""The CPU frequency governor: set for the session, restored after it, whatever ends it."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from livesession import LiveSession, Stage

from conftest import TOY, Project
from wattest.machine import set_governor


def governor_tree(folder: Path, cpus: int = 2) -> list[Path]:
    """Build a tree like /sys with a governor for each CPU; return their files."""
    files = []
    for cpu in range(cpus):
        control = folder / f"devices/system/cpu/cpu{cpu}/cpufreq"
        control.mkdir(parents=True)
        (control / "scaling_available_governors").write_text("performance powersave\n")
        (control / "scaling_governor").write_text("powersave\n")
        files.append(control / "scaling_governor")
    return files


@pytest.mark.parametrize("ending", ["normal end", "SIGTERM", "SIGKILL"])
def test_the_governor_is_restored_whatever_ends_the_session(project: Project, ending: str) -> None:
    stage = Stage(project)
    sysfs = project.path / "sys"
    files = governor_tree(sysfs)
    top: dict[str, Any] = {"governor": "performance"}
    if ending == "normal end":
        top["timeout_seconds"] = 0.5
    stage.settings(**top)
    with LiveSession(project, "--sysfs", str(sysfs)) as session:
        stage.await_births(session)
        if ending != "normal end":
            assert {file.read_text() for file in files} == {"performance"}
            session.send(signal.Signals[ending])
        session.wait()
        assert session.left(*stage.oracles) == []
    assert {file.read_text().strip() for file in files} == {"powersave"}
    if ending == "normal end":
        (record,) = project.records()
        assert record["environment"]["governor"]["status"] == "set"


def test_different_governors_are_each_restored(project: Project) -> None:
    sysfs = project.path / "sys"
    first, second = governor_tree(sysfs)
    second.write_text("performance\n")
    project.settings(TOY, governor="performance")
    assert project.run_here("--sysfs", str(sysfs)).ret == 0
    assert first.read_text().strip() == "powersave"
    assert second.read_text().strip() == "performance"


def test_a_governor_that_is_not_offered_is_refused_before_anything_runs(project: Project) -> None:
    sysfs = project.path / "sys"
    files = governor_tree(sysfs)
    project.settings(TOY, governor="schedutil")
    result = project.refusal("--sysfs", str(sysfs))
    result.stderr.fnmatch_lines(["ERROR: governor 'schedutil' is not offered*powersave"])
    assert {file.read_text().strip() for file in files} == {"powersave"}
    assert project.records() == []


def test_a_machine_without_governors_says_so_and_measures(project: Project) -> None:
    sysfs = project.path / "sys"
    sysfs.mkdir()
    project.settings(TOY, governor="performance")
    result = project.run_here("--sysfs", str(sysfs))
    assert result.ret == 0
    (record,) = project.records()
    assert record["environment"]["governor"]["status"] == "unavailable"
    assert "no control of the CPU frequency" in record["environment"]["governor"]["reason"]


def test_a_governor_that_cannot_be_set_is_left_alone_and_reported(project: Project) -> None:
    sysfs = project.path / "sys"
    first, second = governor_tree(sysfs)
    # A folder in its place is what a missing permission is to root.
    second.unlink()
    second.mkdir()
    project.settings(TOY, governor="performance")
    result = project.run_here("--sysfs", str(sysfs))
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["*governor 'performance': *run with sudo*"])
    assert first.read_text().strip() == "powersave"
    (record,) = project.records()
    assert record["environment"]["governor"]["status"] == "denied"


def test_a_governor_that_this_user_may_not_write_is_denied_and_nothing_is_to_restore(
    tmp_path: Path,
) -> None:
    for file in governor_tree(tmp_path):
        # What nobody may write, root neither.
        file.unlink()
        file.symlink_to("/proc/version")
    with ExitStack() as closing:
        state = set_governor("performance", tmp_path, closing)
    assert state.status == "denied"
    assert "run with sudo" in str(state.reason)
