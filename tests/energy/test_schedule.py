"""The schedule of sampling, and how well it was kept."""

from __future__ import annotations

import pytest

from wattest.energy.schedule import Schedule


def test_a_schedule_knows_its_95th_percentile_in_bounded_memory():
    schedule = Schedule(0, 100)
    for tick in range(1, 100_001):
        schedule.take(tick * 100 + (40 if tick % 10 == 0 else 0))
    assert schedule.samples == 100_000
    assert schedule.p95_seconds() == pytest.approx(140e-9, rel=0.01)
    assert (schedule.missed, schedule.late, schedule.longest_gap_ns) == (0, 10_000, 140)
    assert sum(len(getattr(schedule, slot, ())) for slot in ("_counts",)) < 5_000
