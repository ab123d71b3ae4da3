"""``wattest doctor`` says of counters that cannot be read what a session would say of them."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes.nvml import FakeGpu, FakeGpuScript, build_fake_nvml
from fakes.powercap import PowercapTree

from conftest import ROOT, TOY, Project
from wattest.cli import main
from wattest.energy import Finding, find_sensors
from wattest.errors import SensorPermissionError

NOTHING = "Nothing can be measured here"


def test_counters_that_cannot_be_read_make_pytest_refuse_and_doctor_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = PowercapTree(tmp_path / "sys")
    for zone in (tree.add_package(0), tree.add_dram(0, 0), tree.add_package(1)):
        (zone / "energy_uj").unlink()
        (zone / "energy_uj").mkdir()
    with pytest.raises(SensorPermissionError):
        find_sensors(tree.root)
    assert main(["doctor", "--sysfs", str(tree.root)]) == 0
    output = capsys.readouterr().out
    for zone_name in ("package-0", "package-0/dram", "package-1"):
        assert f"cpu  {zone_name}: exists but cannot be read\n" in output
    assert "accepted by" not in output
    assert output.count("mend it: ") == 1, "three zones have one remedy"
    assert "  pytest will refuse to start: mend it, or pass --allow-missing cpu\n" in output
    assert NOTHING not in output


def test_settings_are_held_against_what_is_here(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.settings(TOY)
    settings = str(project.path / "settings/test.json")
    words = ["doctor", "--config", settings, "--root", str(project.path)]
    assert main(words) == 0
    output = capsys.readouterr().out
    assert output.endswith("test.json needs, and does not find:\n  nothing: all of it is here\n")
    assert f"  campaign: project in {project.path}\n" in output
    assert "  workers: no GPU that is measured; one experiment at a time\n" in output
    project.settings(TOY, governor="performance")
    project.describe("toy", train_script="./gone.sh", gpu_memory_mb=4000)
    assert main([*words, "--sysfs", str(project.path / "no_sysfs")]) == 1
    lacking = capsys.readouterr().out.partition("does not find:\n")[2]
    assert "gone.sh" in lacking
    assert "toy needs GPU memory (gpu_memory_mb), and no GPU is measured here\n" in lacking
    assert "governor 'performance': this machine offers no control" in lacking


def test_memory_that_no_gpu_has_free_is_lacking(project: Project) -> None:
    project.settings(TOY)
    project.describe("toy", gpu_memory_mb=9_999_999)
    library = build_fake_nvml(project.path / "nvml")
    script = FakeGpuScript([FakeGpu()]).environment(library, project.path / "nvml.txt")
    command = [sys.executable, "-m", "wattest", "doctor", "--config", "settings/test.json"]
    done = subprocess.run(
        command, cwd=project.path, capture_output=True, text=True, check=False,
        env={**os.environ, **script, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    lacking = done.stdout.partition("does not find:\n")[2]
    assert lacking.startswith("  the trainings need 9999999 MB of GPU memory together, and GPU 0")


def test_a_folder_that_is_no_project_is_called_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conftest.py").write_text("")
    for root, said in ((tmp_path, "it is no project"), (tmp_path / "x", "wattest init FOLDER")):
        assert main(["doctor", "--sysfs", str(tmp_path), "--root", str(root)]) == 0
        assert said in capsys.readouterr().out


def test_a_package_that_another_one_keeps_out_of_the_sum_is_not_called_unreadable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = PowercapTree(tmp_path / "sys")
    tree.add_package(0)
    counter = tree.add_package(1) / "energy_uj"
    counter.unlink()
    counter.mkdir()
    tree.add_dram(0, energy_uj=5)
    assert main(["doctor", "--sysfs", str(tree.root)]) == 0
    output = capsys.readouterr().out
    assert "  cpu  package-0: rejected\n       is left out of the sum: package-1: " in output
    assert "  cpu  package-1: exists but cannot be read\n" in output
    assert "accepted by" not in output


def test_each_kind_of_unreadable_sensor_has_an_option_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = (
        Finding("cpu", "package-0", "unreadable", "a", "x"),
        Finding("cpu", "package-1", "unreadable", "b", "y"),
        Finding("gpu", "gpu", "unreadable", "c", "z", refusal="c. Remedy: z"),
    )
    sensors = nullcontext(SimpleNamespace(findings=findings))
    monkeypatch.setattr("wattest.doctor.find_sensors", lambda sys_root, allow_missing: sensors)
    assert main(["doctor", "--sysfs", str(tmp_path)]) == 0
    _, _, told = capsys.readouterr().out.partition("Energy:\n")
    assert told.partition("\n\n")[0].split("\n") == [
        "  cpu  package-0: exists but cannot be read",
        "       a",
        "       mend it: x",
        "  cpu  package-1: exists but cannot be read",
        "       b",
        "       mend it: y",
        "  gpu  gpu: exists but cannot be read",
        "       c",
        "       mend it: z",
        "  pytest will refuse to start: mend it, or pass --allow-missing cpu --allow-missing gpu",
    ]


def test_the_command_line_is_there_without_its_script(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wattest", "doctor", "--sysfs", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(tmp_path), "PYTHONPATH": str(ROOT / "src"), "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    assert NOTHING in done.stdout
