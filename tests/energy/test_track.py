"""A counter's track: exact over wraps, and never a plausible wrong number."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from fakes.profile import Profile, bursts, ramp, square, steady

from wattest.energy.counter import Counter, Seen
from wattest.energy.track import CounterTrack
from wattest.energy.types import NS, ReadingError

REAL_RANGE = 262_143_328_850
UPDATE_SECONDS = 0.01


def unread() -> int:
    raise AssertionError("this track is given its readings")


def seen(period: float | None) -> Seen:
    return Seen(spans_ns=[int(period * NS)] if period else [])


def track_of(max_range: int | None = REAL_RANGE, period: float | None = UPDATE_SECONDS):
    counter = Counter(
        label="package-0",
        domain="cpu_pkg",
        read=unread,
        joules_per_count=1e-6,
        most_watts=1000.0,
        unseen_step_seconds=0.5,
        wraps=True,
        max_range=max_range,
        seen=seen(period),
    )
    return CounterTrack(counter)


class Hardware:
    """A counter with a known power, updated every 10 ms, that can be reset and garbled."""

    def __init__(self, profile: Profile, start: int, max_range: int) -> None:
        self.profile = profile
        self.start = start
        self.range = max_range
        self.reset_at = float("inf")

    def value(self, at: float) -> int:
        at = int(at / UPDATE_SECONDS) * UPDATE_SECONDS
        if at >= self.reset_at:
            return round(self.profile.joules(self.reset_at, at) * 1e6) % (self.range + 1)
        return (self.start + round(self.profile.joules(0.0, at) * 1e6)) % (self.range + 1)


def follow(
    track: CounterTrack,
    read: Callable[[float], int],
    seconds: float,
    period: float,
    jitter: random.Random | None = None,
) -> CounterTrack:
    at = 0.0
    track.open(0, read(0.0))
    while (at := at + period) < seconds:
        late = jitter.uniform(0.0, 0.1 * period) if jitter else 0.0
        track.read(int((at + late) * NS), read(at + late))
    if not track.read(int(seconds * NS), read(seconds)):
        track.read(int((seconds + 0.005) * NS), read(seconds + 0.005))
    track.settle(int(seconds * NS))
    return track


@pytest.mark.parametrize("profile", [steady(60), ramp(1, 9, 10, 300), square(20, 250, 0.7, 10)])
def test_a_counter_that_does_not_wrap_gives_its_difference(profile):
    hardware = Hardware(profile, 5_000_000, REAL_RANGE)
    track = follow(track_of(), hardware.value, 10.0, 1.0)
    assert track.fault is None
    assert track.joules == pytest.approx(profile.joules(0, 10), abs=3.1)


def test_a_wrap_of_a_large_range_is_followed():
    hardware = Hardware(steady(100), REAL_RANGE - 350_000_000, REAL_RANGE)
    track = follow(track_of(), hardware.value, 10.0, 1.0)
    assert (track.fault, track.wraps) == (None, 1)
    assert track.joules == pytest.approx(1000, abs=1.1)


def test_a_wrap_in_the_first_interval_is_followed():
    hardware = Hardware(steady(100), REAL_RANGE - 1_000_000, REAL_RANGE)
    track = follow(track_of(), hardware.value, 3.0, 1.0)
    assert (track.fault, track.wraps) == (None, 1)
    assert track.joules == pytest.approx(300, abs=1.1)


def test_a_load_that_begins_in_the_interval_of_a_wrap_is_no_reset():
    profile = bursts(10, [(4.0, 60.0, 250)])
    hardware = Hardware(profile, REAL_RANGE - 60_000_000, REAL_RANGE)
    track = follow(track_of(), hardware.value, 20.0, 1.0)
    assert (track.fault, track.wraps) == (None, 1)
    assert track.joules == pytest.approx(profile.joules(0, 20), abs=2.6)


@pytest.mark.parametrize("seed", range(40))
def test_many_wraps_of_a_small_range_are_followed(seed):
    dice = random.Random(seed)
    watts = dice.uniform(5, 300)
    reach = round(watts * dice.uniform(2.5, 4.0) * 1e6)
    hardware = Hardware(steady(watts), dice.randrange(reach), reach)
    track = follow(track_of(reach), hardware.value, 12.0, 0.05, dice)
    assert track.fault is None, track.fault
    assert track.wraps in range(2, 6)
    assert track.joules == pytest.approx(12 * watts, rel=0.01, abs=watts * UPDATE_SECONDS)


@pytest.mark.parametrize("seed", range(60))
def test_a_reset_is_never_a_plausible_wrong_number(seed):
    dice = random.Random(seed)
    watts = dice.uniform(5, 300)
    small = seed % 2
    reach = round(watts * 3 * 1e6) if small else REAL_RANGE
    hardware = Hardware(steady(watts), dice.randrange(reach), reach)
    hardware.reset_at = dice.uniform(2, 8)
    period = 0.05 if small else 1.0
    track = follow(track_of(reach), hardware.value, 10.0, period, dice)
    if track.fault is None:
        step = 2 * watts * period if small else 0.0
        assert track.joules == pytest.approx(10 * watts, rel=0.01, abs=step)
    else:
        assert track.fault.gate == "counter_reset"


def test_a_reset_of_a_real_range_is_named():
    hardware = Hardware(steady(80), 900_000_000, REAL_RANGE)
    hardware.reset_at = 5.3
    track = follow(track_of(), hardware.value, 10.0, 1.0)
    assert track.fault is not None
    assert track.fault.gate == "counter_reset"
    assert "reset" in track.fault.text
    assert track.joules == pytest.approx(400, abs=1)


def test_a_reset_in_the_last_interval_is_named():
    hardware = Hardware(steady(80), 900_000_000, REAL_RANGE)
    hardware.reset_at = 9.9
    track = follow(track_of(), hardware.value, 10.0, 1.0)
    assert track.fault is not None
    assert track.fault.gate == "counter_reset"


def test_without_a_range_the_difference_stands_as_long_as_nothing_wraps():
    hardware = Hardware(steady(80), 1_000_000, REAL_RANGE)
    track = follow(track_of(None), hardware.value, 5.0, 1.0)
    assert track.fault is None
    assert track.joules == pytest.approx(400, abs=1)


def test_without_a_range_a_decrease_is_refused():
    hardware = Hardware(steady(80), REAL_RANGE - 100_000_000, REAL_RANGE)
    track = follow(track_of(None), hardware.value, 5.0, 1.0)
    assert track.fault is not None
    assert "range is not known" in track.fault.text


def test_a_range_that_the_counter_has_passed_cannot_tell_its_wrap():
    hardware = Hardware(steady(80), REAL_RANGE - 100_000_000, REAL_RANGE)
    track = follow(track_of(REAL_RANGE - 50_000_000), hardware.value, 5.0, 0.4)
    assert track.fault is not None
    assert "its range is less than it had" in track.fault.text


@pytest.mark.parametrize("garbage", [0, 7, 10**15])
@pytest.mark.parametrize("reach", [REAL_RANGE, 240_000_000])
@pytest.mark.parametrize("when", [0.5, 0.95, 1.0])
def test_one_garbled_value_is_taken_back(garbage, reach, when):
    hardware = Hardware(steady(80), 100_000_000, reach)
    period = 1.0 if reach == REAL_RANGE else 0.05
    hit = round(10 * when / period) * period

    def read(at: float) -> int:
        return garbage if abs(at - hit) < 1e-6 else hardware.value(at)

    track = follow(track_of(reach), read, 10.0, period)
    assert track.fault is None, track.fault
    assert track.joules == pytest.approx(800, rel=0.01, abs=1)


def test_a_counter_that_jumps_to_and_fro_is_refused():
    track = track_of(period=1.0)
    track.open(0, 10_000_000)
    for tenth in range(1, 8):
        track.read(tenth * NS // 10, 10**15 if tenth % 2 else 10_000_000)
    assert track.fault is not None
    assert track.fault.gate == "counter_erratic"


def test_readings_at_the_opening_edge_must_agree():
    hardware = Hardware(steady(80), 100_000_000, REAL_RANGE)
    track = track_of()
    assert track.open(0, 7)
    assert not track.agree(NS // 1000, hardware.value(0.001))
    assert track.agree(2 * NS // 1000, hardware.value(0.002))
    assert (track.failed, track.opened_ns) == (1, NS // 1000)
    track.read(NS, hardware.value(1.0))
    track.settle(NS)
    assert track.fault is None
    assert track.joules == pytest.approx(80, abs=1)


def test_a_failed_reading_loses_nothing():
    hardware = Hardware(steady(80), 0, REAL_RANGE)
    track = track_of()
    track.open(0, hardware.value(0))
    for second in range(1, 10):
        if second == 4:
            track.fail(second * NS, ReadingError("read_failed", "energy_uj: Input/output error"))
        else:
            track.read(second * NS, hardware.value(second))
    track.settle(9 * NS)
    assert track.fault is None
    assert track.failed == 1
    assert track.joules == pytest.approx(720, abs=1)


def test_a_counter_lost_until_the_end_is_refused_with_what_it_gave():
    hardware = Hardware(steady(80), 0, REAL_RANGE)
    track = track_of()
    track.open(0, hardware.value(0))
    for second in range(1, 6):
        track.read(second * NS, hardware.value(second))
    for second in range(6, 11):
        track.fail(second * NS, ReadingError("permission_lost", "energy_uj: Permission denied"))
    track.settle(10 * NS)
    assert track.fault is not None
    assert track.fault.gate == "permission_lost"
    assert "lost 4.0 s before the end: energy_uj: Permission denied" in track.fault.text
    assert track.joules == pytest.approx(400, abs=1)


def test_no_reading_at_the_opening_edge_is_refused_though_later_ones_succeed():
    track = track_of()
    track.fail(0, ReadingError("read_failed", "energy_uj: holds ''"))
    for second in range(1, 5):
        track.read(second * NS, second * 1_000_000)
    track.settle(4 * NS)
    assert track.fault is not None
    assert "opening edge" in track.fault.text
    assert track.joules == 0


@pytest.mark.parametrize("period", [1.0, 0.05])
@pytest.mark.parametrize("from_second", [0.0, 4.2, 8.9])
def test_a_frozen_counter_is_refused(period, from_second):
    hardware = Hardware(steady(80), 3_000_000, REAL_RANGE)
    track = follow(track_of(), lambda at: hardware.value(min(at, from_second)), 10.0, period)
    track.watch(int(10.95 * NS), hardware.value(from_second))
    track.settle(10 * NS)
    assert track.fault is not None
    assert track.fault.gate == "counter_frozen"


def test_a_counter_that_stands_still_for_a_while_and_loses_energy_is_refused():
    hardware = Hardware(steady(80), 0, REAL_RANGE)

    def read(at: float) -> int:
        return hardware.value(at if at < 3 else max(3.0, at - 4.0))

    track = follow(track_of(), read, 20.0, 1.0)
    assert track.fault is not None
    assert "did not catch up" in track.fault.text


def test_a_counter_that_stands_still_and_catches_up_is_flagged_only():
    hardware = Hardware(steady(80), 0, REAL_RANGE)

    def read(at: float) -> int:
        return hardware.value(3.0 if 3.0 <= at < 6.5 else at)

    track = follow(track_of(), read, 20.0, 1.0)
    assert track.fault is None
    assert [flag.gate for flag in track.flags] == ["counter_paused"]
    assert track.joules == pytest.approx(1600, abs=1)


def test_a_gap_in_which_wraps_may_have_been_missed_is_refused():
    reach = 240_000_000
    hardware = Hardware(steady(80), 0, reach)
    track = track_of(reach)
    track.open(0, 0)
    for tick in range(1, 40):
        track.read(int(tick * 0.05 * NS), hardware.value(tick * 0.05))
    track.read(9 * NS, hardware.value(9.0))
    track.settle(9 * NS)
    assert track.fault is not None
    assert track.fault.gate == "wrap_missed"


def test_a_jump_forward_that_no_machine_can_make_is_refused():
    track = track_of()
    track.open(0, 1_000_000)
    track.read(1 * NS, 61_000_000)
    track.read(2 * NS, 40_000_000_000)
    track.read(3 * NS, 40_060_000_000)
    track.settle(3 * NS)
    assert track.fault is not None
    assert track.fault.gate == "counter_jump"


@pytest.mark.parametrize("when", [(0.0, 0.2), (9.8, 10.0)])
@pytest.mark.parametrize("max_range", [REAL_RANGE, 200_000_000])
def test_a_burst_at_an_edge_counts_in_full(when, max_range):
    profile = bursts(5, [(*when, 900)])
    hardware = Hardware(profile, 0, max_range)
    period = 1.0 if max_range == REAL_RANGE else 0.05
    track = follow(track_of(max_range), hardware.value, 10.0, period)
    assert track.fault is None, track.fault
    assert track.joules == pytest.approx(profile.joules(0, 10), abs=9.1)


def test_the_edge_uncertainty_covers_one_step():
    hardware = Hardware(steady(80), 0, REAL_RANGE)
    track = follow(track_of(), hardware.value, 10.0, 1.0)
    assert 0.79 <= track.edge_joules() <= 1.7


def test_a_counter_without_wraps_takes_any_decrease_for_a_reset():
    track = CounterTrack(Counter("GPU-1", "gpu", unread, 1e-3, 5000.0, 0.1, seen=seen(0.1)))
    track.open(0, 1_000_000)
    for tick, value in enumerate([1_100_000, 1_200_000, 20_000, 120_000], start=1):
        track.read(tick * NS // 2, value)
    track.settle(2 * NS)
    assert track.fault is not None
    assert track.fault.gate == "counter_reset"
    assert track.joules == 200.0


def test_a_pause_that_catches_up_is_forgiven_and_flagged():
    late = Hardware(ramp(0, 10, 20, 200), 5_000_000, REAL_RANGE)

    def read(at: float) -> int:
        return late.value(4.0 if 4.0 <= at < 5.0 else at)

    track = follow(track_of(), read, 10.0, 0.2)
    assert track.fault is None
    assert track.joules == pytest.approx(late.profile.joules(0, 10), rel=0.01)
    assert [flag.gate for flag in track.flags] == ["counter_paused"]


def test_readings_that_miss_the_edges_by_much_are_refused_and_by_less_flagged():
    for late_seconds, gates in ((0.02, []), (0.5, ["edge_slack"])):
        track = follow(track_of(), Hardware(steady(60), 0, REAL_RANGE).value, 10.0, 0.2)
        track.add_edge_delay(0, int((10 - late_seconds) * NS))
        assert track.fault is None
        assert [flag.gate for flag in track.flags] == gates
    track = follow(track_of(), Hardware(steady(60), 0, REAL_RANGE).value, 10.0, 0.2)
    track.add_edge_delay(0, 8 * NS)
    assert track.fault is not None
    assert track.fault.gate == "edge_slack"


def test_a_period_that_was_not_seen_before_is_that_of_the_movements_in_the_window():
    slow = Hardware(steady(60), 0, REAL_RANGE)
    track = follow(track_of(period=None), lambda at: slow.value(int(at)), 10.0, 0.2)
    assert track.period_seconds == pytest.approx(1.0, rel=0.15)
