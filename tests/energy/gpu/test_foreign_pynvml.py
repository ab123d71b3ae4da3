"""Whose module is imported as `pynvml`: that of nvidia-ml-py, or a stranger's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fakes.nvml import FakeGpu, FakeGpuScript, build_fake_nvml

from conftest import ROOT

ASK = """
from wattest.energy import find_sensors
from wattest.errors import SensorPermissionError
from pathlib import Path
try:
    with find_sensors(Path("/nonexistent"), Path("/nonexistent")) as sensors:
        print(sensors.describe())
except SensorPermissionError as error:
    print("REFUSED", error)
"""
OLD_BYTES = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("real_pynvml", {real!r})
real = importlib.util.module_from_spec(spec)
sys.modules["real_pynvml"] = real
spec.loader.exec_module(real)
globals().update({{name: value for name, value in vars(real).items() if "nvml" in name.lower()}})
def nvmlDeviceGetUUID(handle):
    return real.nvmlDeviceGetUUID(handle).encode()
def nvmlDeviceGetName(handle):
    return real.nvmlDeviceGetName(handle).encode()
def nvmlSystemGetDriverVersion():
    return real.nvmlSystemGetDriverVersion().encode()
"""
ODD_ANSWERS = r"""
import re
from pathlib import Path
import pynvml
from wattest.energy import gpu
from wattest.energy.gpu.search import find_gpus
from wattest.energy.gpu.track import GpuTrack
from wattest.errors import EnergyError
NOWHERE = Path("/nonexistent")

def use(name):
    found = find_gpus(NOWHERE, {})
    for finding in found.findings():
        print(name, finding.status, finding.refusal)
    found.hardware()
    try:
        found.processes()
    except EnergyError as error:
        print(name, "processes", error)
    for gpu in found.gpus:
        track = GpuTrack(gpu)
        track.read_power(), track.read_counter(), track.read_vitals(), track.read_throttling()
    found.nvml.close()

sources = "".join(path.read_text() for path in Path(gpu.__file__).parent.glob("*.py"))
names = {f"nvml{one}" for one in re.findall(r"\b(DeviceGet\w+|SystemGet\w+)", sources)}
for name in sorted(names - {"nvmlDeviceGetHandleByIndex"}):
    real = getattr(pynvml, name)
    for odd in (None, "", "7\n", b"", 7, 7.5, [], ["7"], [[]], {}, object()):
        setattr(pynvml, name, lambda *arguments: odd)
        use(name)
    setattr(pynvml, name, real)
use("whole")
"""
INDISPENSABLE = {
    "nvmlDeviceGetCount",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetTotalEnergyConsumption",
    "nvmlDeviceGetComputeRunningProcesses",
}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return build_fake_nvml(tmp_path / "library")


def ask(tmp_path: Path, folder: Path, environment: dict[str, str], program: str = ASK) -> str:
    path = f"{folder}:{ROOT / 'src'}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin", **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "body", ["x = 1\n", "raise RuntimeError('no')\n", "def (:\n", "raise SystemExit(3)\n"]
)
def test_a_strangers_module_is_one_line_with_its_remedy(tmp_path, library, body):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "pynvml.py").write_text(body)
    fake = FakeGpuScript([FakeGpu()]).environment(library, tmp_path / "script")
    told = ask(tmp_path, tmp_path / "own", dict(fake))
    assert told.startswith("REFUSED the module pynvml ")
    assert told.count("\n") == 1
    assert f"Remedy: rename or remove {tmp_path}/own/pynvml.py; " in told
    assert "--allow-missing gpu" in told


def test_whatever_a_strangers_functions_answer_is_one_line_or_not_known(tmp_path, library):
    import pynvml

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "pynvml.py").write_text(OLD_BYTES.format(real=pynvml.__file__))
    fake = dict(FakeGpuScript([FakeGpu()]).environment(library, tmp_path / "script"))
    del fake["CUDA_VISIBLE_DEVICES"]
    *lines, last = ask(tmp_path, tmp_path / "own", fake, ODD_ANSWERS).splitlines()
    assert last == "whole measured "
    refused = [line for line in lines if "measured" not in line]
    assert {line.split()[0] for line in refused} == INDISPENSABLE
    path = tmp_path / "own" / "pynvml.py"
    told = f"the module pynvml comes from {path}, not from nvidia-ml-py: it answers "
    odd = ("rejected", "unreadable gpu 0: has no UUID", "does not answer: Invalid Argument")
    assert [line for line in refused if told not in line and not any(map(line.count, odd))] == []


def test_an_old_distribution_is_named_with_what_replaces_it(tmp_path, library):
    own = tmp_path / "own"
    (own / "pynvml").mkdir(parents=True)
    (own / "pynvml" / "__init__.py").write_text("def nvmlInit(): pass\n")
    about = own / "pynvml-8.0.4.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pynvml\nVersion: 8.0.4\n")
    (about / "RECORD").write_text("pynvml/__init__.py,,\n")
    fake = FakeGpuScript([FakeGpu()]).environment(library, tmp_path / "script")
    told = ask(tmp_path, own, dict(fake))
    assert "the old distribution pynvml 8.0.4" in told
    assert "pip uninstall pynvml && pip install --force-reinstall nvidia-ml-py" in told


def test_a_module_whose_texts_are_bytes_works(tmp_path, library):
    import pynvml

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "pynvml.py").write_text(OLD_BYTES.format(real=pynvml.__file__))
    fake = FakeGpuScript([FakeGpu()]).environment(library, tmp_path / "script")
    told = ask(tmp_path, tmp_path / "own", dict(fake))
    assert f"GPU Fake GPU {FakeGpu().uuid} by nvml-counter" in told


def test_without_a_driver_a_strangers_module_does_no_harm(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "pynvml.py").write_text("x = 1\n")
    told = ask(tmp_path, tmp_path / "own", {})
    if "REFUSED" in told:
        pytest.skip("this machine has an NVIDIA driver")
    assert "libnvidia-ml.so.1 is not found" in told
