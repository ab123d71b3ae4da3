"""Before each experiment: the pause waits for the idle that was, and memory is there for all."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wattest.errors import GpuMemoryError
from wattest.session.preflight import Preflight

NO_GPUS: Any = SimpleNamespace(gpu_state=tuple)


class SharedMachine:
    """A machine without GPUs on which strangers keep half of the CPU busy; its time is a stub."""

    def __init__(self, proc_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slept: list[float] = []
        self.busy_share = 0.5
        self._stat = proc_root / "stat"
        self._ticks = [0.0, 0.0]
        self._write()
        monkeypatch.setattr(time, "sleep", self._pass)
        monkeypatch.setattr(time, "monotonic", lambda: sum(self.slept))

    def _pass(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._ticks[0] += 100 * seconds * self.busy_share
        self._ticks[1] += 100 * seconds * (1 - self.busy_share)
        self._write()

    def _write(self) -> None:
        busy, idle = (round(ticks) for ticks in self._ticks)
        self._stat.write_text(f"cpu {busy} 0 0 {idle} 0 0 0 0\ncpu0 {busy} 0 0 {idle} 0 0 0 0\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SharedMachine:
    return SharedMachine(tmp_path, monkeypatch)


def preflight(proc_root: Path, cooldown: float, baseline: float = 0.0) -> Preflight:
    settings: Any = SimpleNamespace(
        cooldown_seconds=cooldown, cooldown_limit_seconds=600.0, idle_baseline_seconds=baseline
    )
    return Preflight(settings, NO_GPUS, proc_root)


def test_a_load_that_was_there_at_the_start_is_not_waited_for(
    tmp_path: Path, machine: SharedMachine
) -> None:
    checked = preflight(tmp_path, cooldown=5)
    assert checked.pause() is None
    pause = checked.pause()
    assert pause is not None
    assert pause["reached_idle"] is True
    assert pause["waited_seconds"] < 20


def test_a_load_that_was_not_there_at_the_start_is_waited_for(
    tmp_path: Path, machine: SharedMachine
) -> None:
    checked = preflight(tmp_path, cooldown=5)
    checked.pause()
    machine.busy_share = 0.6
    pause = checked.pause()
    assert pause is not None
    assert pause["reached_idle"] is False
    assert pause["excess"] == ["CPU load 60% (idle 50%)"]


def test_the_reference_is_watched_for_only_where_it_is_needed(
    tmp_path: Path, machine: SharedMachine
) -> None:
    preflight(tmp_path, cooldown=0)
    assert machine.slept == []
    measured = preflight(tmp_path, cooldown=5, baseline=30)
    assert machine.slept == []
    time.sleep(30)
    measured.remember_idle()
    measured.pause()
    assert (measured.pause() or {})["reached_idle"] is True
    machine.slept.clear()
    preflight(tmp_path, cooldown=5)
    assert machine.slept == [1.5]


def test_programs_with_models_of_one_name_each_need_their_own_memory(tmp_path: Path) -> None:
    def training(name: str, need_mb: int) -> Any:
        return SimpleNamespace(
            model="default", program=SimpleNamespace(name=name, gpu_memory_mb=need_mb)
        )

    experiment: Any = SimpleNamespace(
        limits=SimpleNamespace(gpu_memory_limit_mb=1000),
        trainings=(training("large", 9000), training("small", 10)),
    )
    with pytest.raises(GpuMemoryError, match=r"large/default needs 9000 MB .* is 1000;"):
        preflight(tmp_path, cooldown=0).check(experiment)
