"""What a person and JUnit are told of each experiment."""

from __future__ import annotations

import sys
from typing import Any

from conftest import LOAD, TOY, Project

PARALLEL: dict[str, Any] = {"foreground": {**TOY, "mutate": ["learning_rate"]}, "background": LOAD}


def test_the_terminal_says_what_runs_and_where_it_went(project: Project) -> None:
    project.settings(PARALLEL, seed=5)
    result = project.run()
    result.stdout.fnmatch_lines(
        [
            "wattest: settings/test.json, 1 experiment planned, seed 5 (from the settings)*",
            "sensors: *",
            "*load *busy/large, PID *",
            "*command *./train.sh -n small*",
            "*training *ended with exit code 0 after*",
            "*load *stopped in*nothing left*",
            "*energy *CPU *GPU *",
            "*record *results/*_toy_small_parallel.json",
            "report: *wattest* report results --session *",
        ]
    )
    session = project.record()["plan"]["session_id"]
    assert f" report results --session {session}\n" in result.stdout.str() + "\n"


def test_an_interrupted_experiment_stands_in_junit_and_in_the_table(project: Project) -> None:
    stop = "import os, time; os.kill(int(open('pid').read()), 2); time.sleep(30)"
    project.program("toy", f"#!{sys.executable}\n{stop}\n")
    (project.path / "conftest.py").open("a").write(
        "\nimport os, pathlib\npathlib.Path('repos/toy/pid').write_text(str(os.getpid()))\n"
    )
    project.settings(TOY)
    result = project.run("--junitxml=report.xml")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["toy-small-default-1 *invalid*", "to go on: *--resume*"])
    junit = (project.path / "report.xml").read_text()
    assert "interrupted before" in junit
    assert 'name="test_training[toy-small-default-1]"' in junit
