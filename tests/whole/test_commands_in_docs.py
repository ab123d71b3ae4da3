"""Every command of README and docs that can run here runs, in a project as its reader has it."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot  # noqa: F401 - pytester unloads what a test is the first to import
import pytest
import scipy.special  # noqa: F401

from benchmarks.campaigns import paired_campaign
from conftest import ROOT
from wattest.cli import main

PAGES = ("README.md", "README.zh.md", "CONTRIBUTING.md", "src/wattest/starter/files/README.md")
COMMAND = re.compile(r"(?:\.venv/bin/)?(wattest|pytest experiments)\b(.*)")
# What cannot run: it names what only its reader has, or takes longer than a test may.
NOT_HERE = re.compile(r"\b(calibrate|submit|A B|EXPERIMENT|IMAGE|yours?|FOLDER)\b|[…[]")
# What a command needs that is there under another name.
STAND_INS = {
    "main/results": "results",
    "branch/results": "results",
    "learning_rate=0.1": "learning_rate=0.001",
    "test_accuracy<-0.5": "accuracy<-0.5",
}


def commands() -> Iterator[str]:
    """Yield each command in an indented block once, without remarks and redirections."""
    seen = set()
    pages = [ROOT / page for page in PAGES] + sorted((ROOT / "docs").glob("*.md"))
    for page in pages:
        text = re.sub(r"\\\n\s+", " ", page.read_text(encoding="utf-8"))
        for line in text.splitlines():
            match = COMMAND.fullmatch(line.strip()) if line.startswith("    ") else None
            if match is None:
                continue
            whole = re.sub(r"\s{2,}#.*|\s>>.*", "", f"{match[1]}{match[2]}").strip()
            if whole not in seen and not NOT_HERE.search(whole):
                seen.add(whole)
                yield whole


ALL = list(commands())


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with this checkout's settings and programs, and results to look at."""
    path = pytester.path
    for name in ("settings", "config", "experiments", "fixtures"):
        shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conftest.py", "pytest.ini"):
        shutil.copy(ROOT / name, path / name)
    (path / "repos").symlink_to(ROOT / "repos")
    paired_campaign(path / "results", [1.2, 1.25, 1.3])
    monkeypatch.setenv("WATTEST_LOCK_DIR", str(path / "locks"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return path


def test_there_are_commands() -> None:
    assert len(ALL) > 15
    assert {"wattest doctor", "wattest report results", "pytest experiments"} <= set(ALL)


@pytest.mark.parametrize("command", ALL)
def test_it_runs(command: str, project: Path, pytester: pytest.Pytester) -> None:
    words = [STAND_INS.get(word, word) for word in shlex.split(command)]
    if words[0] == "pytest":
        # What they train takes minutes: that they can be collected says that they are right.
        without = [word for word in words[1:] if word not in ("-n", "auto")]
        done = pytester.runpytest_inprocess(*without, "--collect-only", "-p", "no:cacheprovider")
        assert done.ret == 0, done.stdout.str()
        return
    if words[1] == "status":
        store_a_plan(project)
    codes = (0, 1, 3) if "compare" in words else (0,)
    assert main(words[1:]) in codes


def store_a_plan(project: Path) -> None:
    assert main(["submit", "settings/quickstart.json", "--root", str(project), "--dry-run"]) == 0
