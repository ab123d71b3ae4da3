"""Options and their ini twins say the same, and are checked alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import TOY, Project


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
