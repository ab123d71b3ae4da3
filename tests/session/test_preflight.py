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
        self._pass(0)
        self.slept.clear()
        monkeypatch.setattr(time, "sleep", self._pass)
        monkeypatch.setattr(time, "monotonic", lambda: sum(self.slept))
        monkeypatch.setattr("wattest.session.preflight._PROC", proc_root)

    def _pass(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._ticks[0] += 100 * seconds * self.busy_share
        self._ticks[1] += 100 * seconds * (1 - self.busy_share)
        busy, idle = (round(ticks) for ticks in self._ticks)
        self._stat.write_text(f"cpu {busy} 0 0 {idle} 0 0 0 0\ncpu0 {busy} 0 0 {idle} 0 0 0 0\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SharedMachine:
    return SharedMachine(tmp_path, monkeypatch)


def preflight(cooldown: float, baseline: float = 0.0) -> Preflight:
    settings: Any = SimpleNamespace(
        cooldown_seconds=cooldown, cooldown_limit_seconds=600.0, idle_baseline_seconds=baseline
    )
    return Preflight(settings, NO_GPUS)


def test_a_load_that_was_there_at_the_start_is_not_waited_for(
    machine: SharedMachine,
) -> None:
    checked = preflight(cooldown=5)
    assert checked.pause() is None
    pause = checked.pause()
    assert pause is not None
    assert pause.reached_idle is True
    assert pause.waited_seconds < 20


def test_a_load_that_was_not_there_at_the_start_is_waited_for(
    machine: SharedMachine,
) -> None:
    checked = preflight(cooldown=5)
    checked.pause()
    machine.busy_share = 0.6
    pause = checked.pause()
    assert pause is not None
    assert pause.reached_idle is False
    assert pause.excess == ("CPU load 60% (idle 50%)",)


def test_the_reference_is_watched_for_only_where_it_is_needed(
    machine: SharedMachine,
) -> None:
    preflight(cooldown=0)
    assert machine.slept == []
    measured = preflight(cooldown=5, baseline=30)
    assert machine.slept == []
    time.sleep(30)
    measured.remember_idle()
    measured.pause()
    pause = measured.pause()
    assert pause is not None
    assert pause.reached_idle is True
    machine.slept.clear()
    preflight(cooldown=5)
    assert machine.slept == [1.5]


def asking(limit_mb: int | None, **needs_mb: int | None) -> Any:
    """Return an experiment whose programs, by name, need so much GPU memory each."""
    trainings = tuple(
        SimpleNamespace(model="default", program=SimpleNamespace(name=name, gpu_memory_mb=need_mb))
        for name, need_mb in needs_mb.items()
    )
    limits = SimpleNamespace(gpu_memory_limit_mb=limit_mb)
    return SimpleNamespace(limits=limits, trainings=trainings, id="asking")


def gpus_with(*free_mb: float | None) -> Preflight:
    """Return the preflight of a machine whose GPUs have so much memory free."""
    settings: Any = SimpleNamespace(cooldown_seconds=0.0, idle_baseline_seconds=0.0)
    gpus = [
        SimpleNamespace(uuid=f"GPU-{n}", index=n, memory_used_mb=0.0, memory_free_mb=free)
        for n, free in enumerate(free_mb)
    ]
    sensors: Any = SimpleNamespace(gpu_state=lambda: gpus)
    return Preflight(settings, sensors)


def test_programs_with_models_of_one_name_each_need_their_own_memory() -> None:
    with pytest.raises(GpuMemoryError, match=r"large/default needs 9000 MB .* is 1000;"):
        preflight(cooldown=0).check(asking(1000, large=9000, small=10))


@pytest.mark.parametrize(
    ("asked", "free_mb", "said"),
    [
        (asking(None, a=3000, b=2000), (4000.0,), "need 5000 MB .* and GPU 0 .* 4000 MB free"),
        (asking(3000, a=None, b=None), (5000.0,), "may take 6000 MB .* 3000 each"),
        (asking(3000, a=1000, b=10), (5000.0,), "may take 6000 MB"),
        (asking(3000, a=None), (9000.0, 2000.0), "and GPU 1 .GPU-1. has 2000 MB free; free some"),
        (asking(None, a=3000), (9000.0, 2000.0), "need 3000 MB .* GPU 1 "),
        (asking(3000, a=None), (None, 2999.0), "GPU 1 .* 2999 MB"),
    ],
)
def test_what_the_trainings_may_take_together_must_be_free_on_every_visible_gpu(
    asked: Any, free_mb: tuple[float | None, ...], said: str
) -> None:
    with pytest.raises(GpuMemoryError, match=said):
        gpus_with(*free_mb).check(asked)


def test_memory_that_is_free_or_that_no_gpu_tells_refuses_nothing() -> None:
    assert gpus_with(6000.0, None).check(asking(3000, a=None, b=2000)) == []
    assert gpus_with().check(asking(3000, a=9)) == []
