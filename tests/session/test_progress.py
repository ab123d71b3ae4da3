"""The live line: on a terminal only, and true."""

from __future__ import annotations

import re

import pytest
from livesession import LiveSession

from conftest import LOAD, Project
from wattest.session.progress import clock


def with_progress(project: Project, seconds: float = 1.1) -> None:
    project.describe("toy", progress=r"Epoch (\d+)")
    foreground = {"repo": "toy", "model": "small", "hyperparameters": {"seconds": seconds}}
    project.settings({"foreground": foreground, "background": LOAD})


def run_in_a_terminal(project: Project, *arguments: str, **environment: str) -> str:
    """Run pytest on a terminal of its own and return all it wrote there."""
    with LiveSession(project, *arguments, terminal=True, environment=environment) as session:
        assert session.wait(60) == 0, session.output()
        return session.output()


def test_a_terminal_shows_one_live_line_with_epoch_and_load(project: Project) -> None:
    with_progress(project, seconds=2.5)
    written = run_in_a_terminal(project, COLUMNS="200")
    lines = re.findall(r"\r\x1b\[2K(\[1/1\][^\r\n]*)", written)
    assert len(lines) >= 2
    assert all("toy-small-parallel-1" in line and "load run 1" in line for line in lines)
    assert re.search(r"epoch \d+/10  0:0\d", lines[-1])
    log = next((project.path / "results").glob("training_*.log"))
    assert "\x1b" not in log.read_text()


def test_piped_output_and_ci_have_no_live_line(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with_progress(project)
    result = project.run_here()
    assert result.ret == 0
    assert "\x1b" not in result.stdout.str()
    assert "[1/1]" not in result.stdout.str()
    written = run_in_a_terminal(project, CI="true")
    assert "[1/1]" not in written


def test_quiet_shows_neither_steps_nor_a_live_line(project: Project) -> None:
    with_progress(project)
    written = run_in_a_terminal(project, "-q")
    assert "[1/1]" not in written
    assert "command" not in written


def test_durations_read_as_a_clock() -> None:
    assert [clock(0), clock(75.9), clock(3600)] == ["0:00", "1:15", "1:00:00"]
