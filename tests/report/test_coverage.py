"""The benchmark of intervals runs the real code; few campaigns already tell a gross mistake."""

from __future__ import annotations

from benchmarks.report_coverage import coverage


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    found = coverage(campaigns=8, seed=1)
    assert {"load gpu_energy", "load metric", "alone learning_rate power of gpu_energy"} <= set(
        found
    )
    assert {count for _, count in found.values()} == {8}
    held = sum(held for held, _ in found.values())
    assert 0.85 < held / (8 * len(found)) < 0.999
