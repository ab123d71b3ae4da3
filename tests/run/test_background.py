"""A load with a ready pattern is waited for, once and for good, but not for ever."""

from __future__ import annotations

import pytest

from conftest import Project


def with_pattern(project: Project, load: str, pattern: str) -> None:
    """Let this program be a load that is ready once its log shows the pattern."""
    project.load(load)
    foreground = {"repo": "toy", "model": "small", "hyperparameters": {"seconds": 0.3}}
    background = {"repo": "busy", "model": "large", "ready_pattern": pattern}
    project.settings({"foreground": foreground, "background": background})


def test_a_load_that_was_ready_stays_ready_whatever_it_says_later(project: Project) -> None:
    said = "printf '\\033[32mREADY\\033[0m\\n'\nyes 'another line' | head -n 100000"
    load = f"#!/bin/sh\n{said}\nexec sleep 60\n"
    with_pattern(project, load, "^READY$")
    assert project.run_here().ret == 0
    proof = project.records()[0]["background_info"]["start"]
    assert proof["ready_pattern_matched"] is True
    assert proof["waited_seconds"] < 5


def test_a_load_that_never_becomes_ready_fails_the_experiment(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wattest.run.background.READY_LIMIT_SECONDS", 1.0)
    with_pattern(project, "#!/bin/sh\necho NOT READY\nexec sleep 60\n", "^READY$")
    result = project.run_here()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*busy/large is not ready after 1 s*", "*NOT READY*"])


def test_a_ready_pattern_that_backtracks_without_end_fails_the_experiment_in_words(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wattest.patterns.LIMIT_SECONDS", 0.1)
    said = "a" * 60
    with_pattern(project, f"#!/bin/sh\necho {said}\nexec sleep 60\n", "(?:(?:a|aa)+)+b")
    result = project.run_here()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*busy/large: its ready_pattern took more than 0.1 s*"])
    assert project.records()[0]["background_info"]["stop"]["survivors"] == []
