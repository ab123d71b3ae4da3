"""The probe: what watching a counter shows, in one go or in two."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from wattest.energy.counter import Counter
from wattest.energy.probe import probe
from wattest.energy.types import ReadingError


def counter_of(read: Callable[[], int]) -> Counter:
    return Counter("GPU-1", "gpu", read, 1e-3, 5000.0, 0.1)


def ticking(period: float, step: int = 7) -> Callable[[], int]:
    """A counter that moves on by itself."""
    began = time.monotonic()
    return lambda: 1000 + step * int((time.monotonic() - began) / period)


def test_the_probe_ends_when_every_period_is_known():
    counter = counter_of(ticking(0.01))
    began = time.monotonic()
    probe([counter], 5.0, 5.0)
    assert time.monotonic() - began < 1.0
    assert counter.period_seconds == pytest.approx(0.01, rel=0.5)
    assert counter.resolution_joules == pytest.approx(0.007)
    assert counter.probe_note == ""


def test_what_a_first_look_did_not_tell_is_learnt_by_a_second():
    counter = counter_of(ticking(0.1))
    probe([counter], 0.15, 0.15)
    spans = len(counter.seen.spans_ns)
    assert spans <= 1
    time.sleep(0.25)
    probe([counter], 0.6, 0.6)
    assert len(counter.seen.spans_ns) > spans
    # The time in which nobody looked is no span.
    assert counter.step_seconds == pytest.approx(0.1, abs=0.04)
    assert counter.seen.seconds == pytest.approx(0.6, abs=0.1)


def test_a_known_period_is_not_watched_again():
    counter = counter_of(ticking(0.005))
    probe([counter], 1.0, 1.0)
    began = time.monotonic()
    probe([counter], 5.0, 5.0)
    assert time.monotonic() - began < 0.05


def test_only_a_counter_that_may_be_slow_is_waited_for():
    slow, zero = counter_of(lambda: 5), counter_of(lambda: 0)
    probe([slow, zero], 0.05, 0.3)
    assert slow.seen.seconds == pytest.approx(0.3, abs=0.1)
    assert zero.seen.seconds == pytest.approx(0.05, abs=0.04)
    assert zero.stands_at_zero
    assert not slow.stands_at_zero
    assert slow.probe_note == f"its counter did not move in the probe of {slow.seen.seconds:.1f} s"


def test_a_counter_that_cannot_be_read_is_given_up():
    def fail() -> int:
        raise ReadingError("source_lost", "gone")

    counter = counter_of(fail)
    probe([counter], 0.05, 5.0)
    assert (counter.seen.first, counter.period_seconds) == (None, None)
