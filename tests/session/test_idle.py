"""The idle machine is measured without a CUDA context, and with one where a GPU is measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.compiled import build

from wattest.session import cudaholder
from wattest.session.idle import IdleMachine
from wattest.terminal import Console

GPU = SimpleNamespace(domain="gpu", status="measured")


class Sensed:
    """Sensors that say whether a context is open when they measure."""

    def __init__(self, context: Path, *findings: Any) -> None:
        self.findings, self._context = findings, context
        self.holders: list[str] = []

    def measure_idle(
        self, seconds: float, folder: Path, *, is_baseline: bool = True
    ) -> dict[str, float]:
        is_open = self._context.exists()
        assert is_open is not is_baseline, "what a context uses is no baseline"
        self.holders += [self._context.read_text()] if is_open else []
        return {"GPU-1": 90.0 if is_open else 50.0}


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    build("fake_cuda.c", tmp_path / "library" / "libcuda.so.1")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "library"))
    monkeypatch.setenv("WATTEST_FAKE_CUDA_CONTEXT", str(tmp_path / "context"))
    return tmp_path / "context"


def told_by(sensors: Any, folder: Path) -> dict[str, Any]:
    settings: Any = SimpleNamespace(idle_baseline_seconds=0.1, idle="session")
    preflight: Any = SimpleNamespace(remember_idle=lambda: None)
    idle = IdleMachine(settings, sensors, folder, Console(None), preflight)
    idle.begin()
    told = idle.before(SimpleNamespace(block=1))  # type: ignore[arg-type]
    assert told is not None
    return told


def test_where_a_gpu_is_measured_a_context_is_open_for_the_second_measurement(
    context: Path, tmp_path: Path
) -> None:
    sensors = Sensed(context, GPU)
    told = told_by(sensors, tmp_path)
    assert (told["watts"], told["cuda_context"]) == ({"GPU-1": 50.0}, False)
    assert told["watts_with_cuda_context"] == {"GPU-1": 90.0}
    (holder,) = sensors.holders
    assert not Path(f"/proc/{holder}").exists()
    assert not context.exists()


def test_without_a_gpu_nobody_asks_for_a_context(context: Path, tmp_path: Path) -> None:
    told = told_by(Sensed(context), tmp_path)
    assert "watts_with_cuda_context" not in told
    assert told["note"] == "no CUDA context of ours was open"


@pytest.mark.parametrize("library", ["broken", "refusing"])
def test_why_there_is_no_context_is_said(
    context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    why = "cuInit fails with code 999"
    if library == "broken":
        why = "libcuda.so.1 cannot be loaded: "
        (tmp_path / "library" / "libcuda.so.1").write_text("no library\n")
    monkeypatch.setenv("WATTEST_FAKE_CUDA_INIT", "999")
    told = told_by(Sensed(context, GPU), tmp_path)
    assert "watts_with_cuda_context" not in told
    assert f"with one it was not measured: {why}" in told["note"]


def test_who_holds_a_context_cannot_hold_it_for_ever(context: Path) -> None:
    command = [sys.executable, "-I", "-S", str(cudaholder.__file__), "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert child.wait(10) < 0
