"""What is for LaTeX compiles, whatever the names are."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.campaigns import Campaign, Figures
from wattest.cli import main

HOSTILE = "<script> $x_&%#^~ \\input{/etc/passwd} {[\u202e ]} \"'`|é 学习率 \x1b --- ??`!` %"


@pytest.fixture
def compiler() -> str:
    """Return the LaTeX compiler."""
    found = shutil.which("pdflatex")
    if found is None:
        pytest.skip("no pdflatex is installed here, which would compile the report")
    return found


def test_a_report_full_of_hostile_names_compiles(tmp_path: Path, compiler: str) -> None:
    figures = Figures(metrics={HOSTILE: 1.0})
    load = {"repo": HOSTILE, "model": HOSTILE, "hyperparameters": {}}
    campaign = Campaign(tmp_path / "results", repo=HOSTILE, model=HOSTILE, load=load)
    for number in range(1, 6):
        campaign.pair({HOSTILE: float(number)}, figures, figures.times(1.2, 1.3, 1.4 + number / 9))
    campaign.run({HOSTILE: 1}, figures, reasons=[HOSTILE], flags=[HOSTILE])
    paper = tmp_path / "report.tex"
    assert main(["report", str(tmp_path / "results"), "-o", str(paper)]) == 0
    done = subprocess.run(
        [compiler, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", paper.name],
        cwd=tmp_path, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode("utf-8", errors="replace")[-2000:]
    assert paper.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    log = paper.with_suffix(".log").read_text(encoding="utf-8", errors="replace")
    assert "Missing character" not in log
    assert "passwd" in paper.read_text(encoding="utf-8"), "a name is told, and not obeyed"
