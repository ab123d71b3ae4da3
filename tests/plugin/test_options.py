"""Options and their ini twins say the same, and are checked alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import TOY, Project, quick_words


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("wattest_supervision=foo", "wattest_supervision: 'foo' is none of guard, cgroup"),
        ("wattest_allow_missing=disk", "wattest_allow_missing: 'disk' is none of cpu, gpu"),
        ("wattest_wait_for_counters=nan", "'nan' is no number of seconds"),
    ],
)
def test_an_ini_twin_is_checked_like_its_option(project: Project, setting: str, said: str) -> None:
    project.settings(TOY)
    result = project.refusal("-o", setting)
    result.stderr.fnmatch_lines([f"ERROR: *{said}*"])


def test_require_energy_refuses_a_machine_without_counters(
    project: Project, tmp_path: Path
) -> None:
    project.settings(TOY)
    (tmp_path / "sys").mkdir()
    result = project.refusal("--require-energy", "--sysfs", str(tmp_path / "sys"))
    result.stderr.fnmatch_lines(["ERROR: --require-energy*"])


def test_a_results_folder_of_the_ini_file_lies_in_the_project(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From wherever pytest is called, a campaign has one folder."""
    project.settings(TOY)
    monkeypatch.chdir(project.path / "experiments")
    words = quick_words("--config", "settings/test.json", "-o", "wattest_results_dir=out")
    assert project.pytester is not None
    result = project.pytester.runpytest_inprocess(*words)
    assert result.ret == 0, result.stdout.str()
    assert len(list((project.path / "out").glob("*.json"))) == 1
    assert not (project.path / "experiments" / "out").exists()
