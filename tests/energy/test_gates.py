"""The gates of the verdict, and the estimate: figures in, words out."""

from __future__ import annotations

import pytest

from wattest.energy import foreign_gpu_processes, other_cpu_load
from wattest.energy.gates import (
    counter_against_integral,
    mean_power,
    sampling,
    throttling,
    too_few_periods,
    window_is_short,
)
from wattest.energy.schedule import Schedule


@pytest.mark.parametrize(("seconds", "flagged"), [(9.99, True), (10.0, False)])
def test_a_window_below_10_s_is_flagged(seconds, flagged):
    assert (window_is_short(seconds) is not None) == flagged


@pytest.mark.parametrize(
    ("seconds", "period", "refused"),
    [(1.99, 0.1, True), (2.0, 0.1, False), (0.021, 0.001, False), (0.1, None, False)],
)
def test_a_window_below_20_update_periods_is_refused(seconds, period, refused):
    reason = too_few_periods("gpu", "GPU-1", seconds, period)
    assert (reason is not None) == refused


@pytest.mark.parametrize(
    ("watts", "idle", "limit", "refused"),
    [
        (330, None, 300, False),
        (331, None, 300, True),
        (24, 50, None, True),
        (26, 50, None, False),
        (1000, None, None, False),
    ],
)
def test_a_mean_power_out_of_range_is_refused(watts, idle, limit, refused):
    assert (mean_power("gpu", "GPU-1", watts, idle, limit) is not None) == refused


@pytest.mark.parametrize(
    ("integral", "opinion", "verdict"),
    [
        (1020, None, "good"),
        (1040, None, "flag"),
        (950, None, "flag"),
        (1110, None, "flag"),
        (880, None, "flag"),
        (1110, (1100, 20), "fault"),
        (880, (890, 20), "fault"),
        (1300, (1010, 20), "flag"),
        (1300, (1010, 120), "fault"),
        (1300, (1200, 0), "fault"),
        (0, None, "flag"),
        (0, (0, 0), "fault"),
    ],
)
def test_the_counter_is_held_against_the_integral(integral, opinion, verdict):
    fault, flag = counter_against_integral("GPU-1", 1000, integral, opinion)
    assert (fault is not None, flag is not None) == (verdict == "fault", verdict == "flag")


def test_missing_samples_and_gaps_are_flagged():
    schedule = Schedule(0, 100_000_000)
    for tick in range(1, 21):
        schedule.take(tick * 110_000_000)
    assert [reason.gate for reason in sampling("gpu", "gpu", schedule, 1.2)] == [
        "sampling_share",
        "sampling_gap",
    ]


def test_a_period_of_1_s_is_no_gap():
    schedule = Schedule(0, 1_000_000_000)
    assert sampling("cpu_pkg", "cpu", schedule, 1.0007) == ()
    assert len(sampling("cpu_pkg", "cpu", schedule, 2.0)) == 1


def test_only_known_and_positive_throttling_is_flagged():
    seconds = {"thermal slowdown": 0.0, "power brake": 0.2, "thermal slowdown by software": None}
    reasons = throttling("GPU-1", seconds)
    assert [reason.text for reason in reasons] == ["GPU-1: power brake for 0.200 s"]


def test_foreign_processes_on_a_gpu_are_named():
    found = {10: "GPU-1", 11: "GPU-1", 12: "GPU-2"}
    reason = foreign_gpu_processes(found, own=[10, 11])
    assert reason is not None
    assert "12 on GPU-2" in reason.text
    assert foreign_gpu_processes(found, own=[10, 11, 12]) is None


@pytest.mark.parametrize(("busy", "flagged"), [(20.4, False), (20.6, True)])
def test_other_load_beyond_5_percent_is_flagged(busy, flagged):
    assert (other_cpu_load(busy, 20.0, 10.0) is not None) == flagged
