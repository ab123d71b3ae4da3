"""A load on a GPU is warm once the power is steady."""

from __future__ import annotations

import pytest

from wattest.energy import GpuState
from wattest.errors import LoadError
from wattest.run.warmup import warm_up


def gpu(watts: float, percent: float) -> GpuState:
    return GpuState("GPU-1", 0, "Fake", watts, 400.0, 50.0, percent, 1.0, 1.0, 2.0)


def test_a_gpu_load_is_warm_once_its_power_is_steady() -> None:
    watts = iter([60, 90, 150, 220, 260, 280, 290, 295, 298, 299, *[300] * 20])
    outcome = warm_up(lambda: [gpu(next(watts), 90.0)], lambda: None, period_seconds=0.001)
    assert outcome is not None
    assert outcome.steady is True
    assert outcome.power_watts > 280


def test_a_load_that_never_settles_is_recorded_as_such() -> None:
    levels = iter([100.0, 100.0, 100.0, 100.0, 300.0, 300.0, 300.0, 300.0] * 10_000)
    outcome = warm_up(lambda: [gpu(next(levels), 90.0)], lambda: None, 0.02, 0.009)
    assert outcome is not None
    assert outcome.steady is False


def test_a_machine_without_gpus_has_no_warm_up_and_a_dead_load_ends_it() -> None:
    assert warm_up(list, lambda: None) is None

    def dead() -> None:
        raise LoadError("it died")

    with pytest.raises(LoadError):
        warm_up(lambda: [gpu(100.0, 90.0)], dead)
