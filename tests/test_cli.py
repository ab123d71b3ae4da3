"""The command line: what is not a test run."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.perf import PerfUnit, build_fake_perf, perf_environment
from fakes.powercap import PowercapTree, PowercapWriter
from fakes.profile import steady

from conftest import ROOT, Project
from wattest.cli import main

MUTANT = {"repo": "toy", "model": "small", "mutate": ["learning_rate", "epochs"]}


@pytest.fixture
def planned(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    project.settings(MUTANT, runs_per_config=4)
    monkeypatch.chdir(project.path)
    return project


def test_doctor_says_what_is_missing_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--sysfs", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "Nothing can be measured here" in output
    assert "guard: available" in output


def test_doctor_finds_the_counters_of_another_sysfs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = PowercapTree(tmp_path / "sys")
    zones = {tree.add_package(0): steady(50), tree.add_dram(0, 0): steady(5)}
    with PowercapWriter(zones):
        assert main(["doctor", "--sysfs", str(tree.root)]) == 0
    output = capsys.readouterr().out
    assert "package-0: measured (powercap)" in output
    assert "package-0/dram: measured (powercap)" in output
    assert "Nothing can be measured" not in output


def test_doctor_finds_perf_where_there_is_no_powercap_tree(tmp_path: Path) -> None:
    library, stage = build_fake_perf(tmp_path), tmp_path / "stage"
    PerfUnit(tmp_path / "sys", stage).add_event()
    done = subprocess.run(
        [sys.executable, "-m", "wattest", "doctor", "--sysfs", str(tmp_path / "sys")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **perf_environment(library, stage)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "power/energy-pkg/: measured (perf)" in done.stdout
    assert "Nothing can be measured" not in done.stdout


def test_doctor_names_the_remedy_for_a_counter_that_may_not_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = PowercapTree(tmp_path / "sys")
    counter = tree.add_package(0) / "energy_uj"
    counter.unlink()
    counter.mkdir()
    assert main(["doctor", "--sysfs", str(tree.root)]) == 0
    output = capsys.readouterr().out
    assert "package-0: measured" not in output
    assert "mend it:" in output


@pytest.mark.parametrize("command", ["doctor", "calibrate"])
@pytest.mark.parametrize("wrong", ["missing", "file"])
def test_a_mistyped_root_for_sys_is_one_line_and_exit_4(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    wrong: str,
) -> None:
    (tmp_path / "file").write_text("")
    named = str(tmp_path / wrong)
    reason = {"missing": "No such file or directory", "file": "is no folder"}[wrong]
    assert main([command, "--sysfs", named]) == 4
    output = capsys.readouterr()
    said = f"ERROR: {{}}: {named!r}: {reason}; it must be a folder like /sys\n"
    assert (output.out, output.err) == ("", said.format("--sysfs"))
    monkeypatch.setenv("WATTEST_SYSFS", named)
    assert main([command]) == 4
    assert capsys.readouterr().err == said.format("WATTEST_SYSFS")


@pytest.mark.parametrize("origin", ["--sysfs", "WATTEST_SYSFS", "wattest_sysfs"])
def test_a_mistyped_root_for_sys_is_a_usage_error_before_anything_runs(
    project: Project, monkeypatch: pytest.MonkeyPatch, origin: str
) -> None:
    project.settings({"repo": "toy", "model": "small"})
    options = {"--sysfs": ["--sysfs", "no/sys"], "wattest_sysfs": ["-o", "wattest_sysfs=no/sys"]}
    if origin == "WATTEST_SYSFS":
        monkeypatch.setenv(origin, "no/sys")
    result = project.refusal(*options.get(origin, ()))
    result.stderr.fnmatch_lines([f"ERROR: {origin}: 'no/sys': No such file or directory;*"])
    assert project.records() == []


def test_a_plan_as_csv_tells_its_drawn_seed_beside_it(
    planned: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "settings/test.json", "--format", "csv"]) == 0
    first = capsys.readouterr()
    *_, told = first.err.splitlines()
    seed = told.split()[1]
    assert told == f"seed {seed} (drawn)"
    assert main(["plan", "settings/test.json", "--format", "csv", "--seed", seed]) == 0
    assert capsys.readouterr().out == first.out


def test_plan_prints_every_value_and_marks_what_was_drawn(
    planned: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "settings/test.json", "--seed", "5"]) == 0
    output = capsys.readouterr().out
    assert "4 experiments, seed 5" in output
    assert output.count("learning_rate*=") == 4


def test_plan_as_json_and_csv_hold_the_same_values(
    planned: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["plan", "settings/test.json", "--seed", "5", "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    main(["plan", "settings/test.json", "--seed", "5", "--format", "csv"])
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    drawn = [one["hyperparameters"]["learning_rate"] for one in document["experiments"]]
    assert [float(row["hyperparam_learning_rate"]) for row in rows] == drawn
    assert not (planned.path / "results").exists()


def test_bad_input_is_one_line_and_exit_4(
    planned: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "settings/none.json"]) == 4
    assert capsys.readouterr().err.startswith("ERROR: settings/none.json: no such file")


@pytest.mark.parametrize(
    "words", [["plan"], ["plan", "x.json", "--seed", "1e3"], ["calibrate", "--seconds", "0"], []]
)
def test_bad_arguments_are_bad_input(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 4
    assert capsys.readouterr().err.splitlines()[-1].startswith("ERROR: ")


def test_what_the_system_refuses_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["plan", "x.json"]) == 4
    assert capsys.readouterr().err == "ERROR: [Errno 2] No such file or directory\n"


def test_a_name_that_the_terminal_cannot_show_is_escaped(planned: Project) -> None:
    (planned.path / "settings/test.json").rename(planned.path / "settings/né \udcff.json")
    done = subprocess.run(
        [sys.executable, "-m", "wattest", "plan", "settings/né \udcff.json"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(r"settings/n\xe9 \udcff.json: 4 experiments")


def test_closed_streams_change_no_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["doctor", "--sysfs", str(tmp_path)]) == 0
    assert main(["report", str(tmp_path / "none")]) == 4
