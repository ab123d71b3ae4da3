"""`wattest calibrate`: known loads, real processes, fake counters whose truth is known.

Tolerances are wide because the fake's writer starves on a busy machine; how exact the meter is, is
the business of other tests.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes.nvml import FakeGpu, FakeGpuScript, build_fake_nvml
from fakes.powercap import PowercapTree, PowercapWriter
from fakes.profile import steady
from oracle import proc_file, processes

from conftest import ROOT, await_until
from wattest.calibration.measure import BURNER

# Half a second for each load is enough, where a second is the least that a person may ask for.
PROGRAM = "import sys; from wattest import cli; cli._seconds = float; sys.exit(cli.main())"
PATTERNS = ["idle", "cpu steady", "cpu square 80 ms", "cpu square 100 ms", "cpu square 150 ms"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, "calibrate", *arguments]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "WATTEST_SYSFS"}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), **more}


@pytest.fixture
def fake_sysfs(tmp_path: Path) -> Iterator[Path]:
    """A powercap tree at 40 W, its DRAM at 5 W, alive."""
    tree = PowercapTree(tmp_path / "sys")
    zones = {tree.add_package(): steady(40.0), tree.add_dram(): steady(5.0)}
    with PowercapWriter(zones):
        yield tmp_path / "sys"


def readings(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    return [one for run in document["runs"] for one in run["readings"] if one["name"] == name]


def processes_with(mark: str) -> set[int]:
    """PIDs of every process whose environment holds `mark`."""
    return {pid for pid, _ in processes() if mark.encode() in proc_file(pid, "environ")}


def burners(mark: str) -> set[int]:
    name = BURNER.name.encode()
    return {pid for pid in processes_with(mark) if name in proc_file(pid, "cmdline")}


def test_without_any_counter_it_says_so_in_one_line_and_leaves_nothing(tmp_path):
    output = tmp_path / "calibration.json"
    (tmp_path / "sys").mkdir()
    done = subprocess.run(
        command("--sysfs", str(tmp_path / "sys"), "--output", str(output)),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "no energy counter can be read" in done.stderr
    assert not output.exists()


def test_known_power_comes_out_of_every_pattern_with_counter_beside_integral(fake_sysfs, tmp_path):
    library = build_fake_nvml(tmp_path / "library")
    gpu = FakeGpu(power=steady(200.0), counter_period=0.02)
    (tmp_path / "torch.py").write_text("raise ImportError('no CUDA here')\n")
    fake = FakeGpuScript([gpu]).environment(library, tmp_path / "script")
    output, seconds = tmp_path / "calibration.json", 0.5
    options = ("--sysfs", str(fake_sysfs), "--seconds", str(seconds), "--output", str(output))
    done = subprocess.run(
        command(*options),
        env=environment(**fake, PYTHONPATH=f"{tmp_path}:{ROOT / 'src'}"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(output.read_text())
    assert document["sys_root"] == str(fake_sysfs)
    assert [run["pattern"]["name"] for run in document["runs"]] == PATTERNS
    for one in readings(document, "package-0"):
        assert one["source"] == "powercap"
        assert one["mean_watts"] == pytest.approx(40.0, rel=0.15)
        assert one["integral_joules"] is None
        assert one["between_percent"] is None, "the fake does not follow the load"
    for run, one in zip(document["runs"], readings(document, gpu.uuid), strict=True):
        assert one["source"] == "nvml-counter"
        assert one["counter_joules"] == pytest.approx(200.0 * run["seconds"], rel=0.15)
        assert abs(one["deviation_percent"]) < 10
        # On a busy machine nobody looks at the very moment of an update.
        assert 0.01 < run["update_periods"][gpu.uuid] < 0.2
        assert 0 < run["own_cpu_percent"] < 20
    shares = {run["pattern"]["name"]: run["load_cpu_percent"] for run in document["runs"]}
    assert shares["idle"] is None
    for name in PATTERNS[2:]:
        assert 0 < shares[name] < 75, "a square wave rests for half of its time"
    for name in (*PATTERNS, "package-0/dram", gpu.uuid):
        assert f"| {name} " in done.stdout


def test_a_load_is_there_while_its_pattern_runs_and_gone_after_sigkill(fake_sysfs):
    mark = f"CALIBRATION_TEST={os.getpid()}-{time.monotonic_ns()}"
    name, value = mark.split("=")
    process = subprocess.Popen(
        command("--sysfs", str(fake_sysfs), "--seconds", "1"),
        env=environment(**{name: value}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_until(lambda: bool(burners(mark)), "a load comes up")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    await_until(lambda: not processes_with(mark), "everything is gone")


@pytest.mark.parametrize("seconds", ["0", "-5", "nan", "inf", "soon"])
def test_a_senseless_length_is_refused(seconds, capsys):
    from wattest.cli import main

    with pytest.raises(SystemExit) as stopped:
        main(["calibrate", "--seconds", seconds])
    assert stopped.value.code == 4
    assert "--seconds" in capsys.readouterr().err


def test_what_cannot_be_stored_is_shown_all_the_same(monkeypatch, capsys):
    from wattest import calibration
    from wattest.cli import main

    host = {"cpu_model": None, "cpu_count": 2, "kernel": "6.1"}
    found = calibration.Calibration("2026-01-01", "/sys", host, {}, (), ())
    monkeypatch.setattr(calibration, "calibrate", lambda *_: found)
    assert main(["calibrate", "--sysfs", "/", "--output", "/proc/none/found.json"]) == 1
    told = capsys.readouterr()
    assert told.out.startswith("Machine: unknown CPU, 2 CPUs")
    assert told.err.startswith("ERROR: /proc/none/found.json: cannot be written: ")
