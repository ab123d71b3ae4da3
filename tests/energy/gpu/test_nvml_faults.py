"""What is wrong with a GPU in a window: refused by name, or flagged."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest
from gpuscenes import SECONDS, Outcome, played

from wattest.energy.gpu.nvml import _NEEDED as NEEDED
from wattest.energy.gpu.nvml import Nvml


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> Mapping[str, Outcome]:
    return played(tmp_path_factory.getbasetemp() / "nvml")


def test_a_gpu_lost_midway_is_refused(outcomes):
    outcome = outcomes["lost midway"]
    outcome.assert_refused("source_lost", "GPU is lost")
    assert all(value is None for value in outcome.metrics.values())
    assert 0 < outcome.domain["joules_until_failure"] < 450


def test_one_lost_gpu_of_two_refuses_the_sum_and_keeps_the_other_number(outcomes):
    outcome = outcomes["one of two lost"]
    outcome.assert_refused("source_lost", outcome.gpus[1].uuid)
    assert outcome.domain["gpus"][0]["joules"] == pytest.approx(outcome.truth(0), rel=0.03)
    assert outcome.domain["gpus"][1]["joules"] is None


def test_power_lost_where_it_is_the_only_source_is_refused(outcomes):
    outcomes["power lost without counter"].assert_refused("source_lost", "no power reading")


def test_a_moment_of_silence_is_counted_and_costs_nothing(outcomes):
    assert outcomes["lost for a moment"].domain["failed_reads"] >= 2


def test_a_reset_midway_is_refused(outcomes):
    outcomes["reset midway"].assert_refused("counter_reset", "reset")


@pytest.mark.parametrize("name", ["frozen midway", "frozen from the start"])
def test_a_frozen_counter_is_refused(outcomes, name):
    outcomes[name].assert_refused("counter_frozen", "frozen")


def test_a_counter_that_belies_the_integral_is_refused(outcomes):
    outcomes["counter 15 % low"].assert_refused("counter_integral", "deviates from the counter")


def test_a_counter_that_is_a_little_off_the_integral_is_flagged(outcomes):
    outcome = outcomes["counter 6 % low"]
    assert outcome.found["faults"] == []
    assert outcome.metrics["gpu_energy_total_joules"] is not None
    assert "counter_integral" in outcome.flags


def test_a_counter_that_pauses_and_catches_up_is_flagged(outcomes):
    outcomes["still for a while"].assert_true(0)
    assert "counter_paused" in outcomes["still for a while"].flags


def test_slow_calls_are_counted_and_missed_samples_flagged(outcomes):
    outcome = outcomes["slow calls"]
    assert outcome.domain["gpus"][0]["slow_calls"] >= 3
    assert outcome.domain["gpus"][0]["longest_call_seconds"] >= 0.25
    assert "sampling_share" in outcome.flags
    assert outcome.found["cost"]["missed_ticks"] >= 3


def test_a_mean_power_beyond_the_limit_is_refused_where_nothing_bears_it_out(outcomes):
    outcome = outcomes["beyond a limit that nothing bears out"]
    outcome.assert_refused("power_range", "above its limit of 200.0 W")


def test_a_mean_power_beyond_the_limit_is_flagged_where_counter_and_integral_agree(outcomes):
    outcome = outcomes["beyond its limit"]
    outcome.assert_true(0)
    assert "power_range" in outcome.flags


@pytest.mark.parametrize("name", ["limit raised under load", "limit raised for a while"])
def test_a_limit_is_the_highest_that_was_told_within_the_window(outcomes, name):
    outcomes[name].assert_true(0)
    assert outcomes[name].domain["gpus"][0]["limit_watts"] == 320
    assert "power_range" not in outcomes[name].flags


def test_throttling_by_the_hardware_is_flagged_and_a_power_cap_only_recorded(outcomes):
    outcome = outcomes["throttled"]
    assert outcome.flags.count("throttling") == 1
    seconds = outcome.domain["gpus"][0]["throttled_seconds"]
    half = (SECONDS + outcome.opened_seconds - 1.0) / 2
    assert seconds["thermal_slowdown_by_hardware"] == pytest.approx(half, abs=0.1)
    assert seconds["power_cap"] == pytest.approx(half, abs=0.1)
    assert seconds["thermal_slowdown"] is None


@pytest.mark.parametrize(
    ("name", "flagged", "known"),
    [
        ("throttled, driver 575", ["by_software"], {"by_software", "brake"}),
        ("throttled, early driver 580", ["by_hardware"], {"by_hardware"}),
    ],
)
def test_throttling_is_read_by_the_numbers_of_the_driver(outcomes, name, flagged, known):
    outcome = outcomes[name]
    outcome.assert_true(0)
    seconds = outcome.domain["gpus"][0]["throttled_seconds"]
    told = {cause for cause, spent in seconds.items() if spent is not None}
    assert len(told) == len(known)
    assert all(any(word in cause for cause in told) for word in known)
    texts = [one["text"] for one in outcome.found["flags"] if one["gate"] == "throttling"]
    assert len(texts) == len(flagged)
    assert flagged[0].replace("_", " ") in texts[0]


class DriverOf:
    """A module `pynvml` over a driver of some version."""

    def __init__(self, version: object) -> None:
        vars(self).update({f"nvml{name}": lambda *_: None for name in NEEDED})
        self.nvmlSystemGetDriverVersion = lambda: version


@pytest.mark.parametrize(
    ("version", "numbers"),
    [
        ("470.256.02", (None, None, None)),
        ("570.124.06", (None, None, None)),
        ("575.51.03", (251, 252, 253)),
        ("580.65.06", (251, 252, 253)),
        ("580.82.07", (269, 270, 271)),
        ("581.15", (269, 270, 271)),
        ("590.44.01", (269, 270, 271)),
        ("", (None, None, None)),
        ("unknown", (None, None, None)),
    ],
)
def test_a_driver_before_those_counters_leaves_them_unknown(version, numbers, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", DriverOf(version))
    nvml = Nvml()
    nvml.open()
    fields = nvml.throttle_fields
    assert (fields.pop("power cap"), fields.pop("thermal slowdown")) == (74, 75)
    assert tuple(fields.values()) == numbers


def test_one_slowdown_that_two_counters_tell_is_one_flag(outcomes):
    outcome = outcomes["one event told twice"]
    (flag,) = [one for one in outcome.found["flags"] if one["gate"] == "throttling"]
    assert "thermal slowdown by software" in flag["text"]
    seconds = outcome.domain["gpus"][0]["throttled_seconds"]
    assert seconds["thermal_slowdown"] == pytest.approx(
        seconds["thermal_slowdown_by_software"], abs=0.1
    )
    (flag,) = [
        one
        for one in outcomes["told by the older counter alone"].found["flags"]
        if one["gate"] == "throttling"
    ]
    assert "thermal slowdown for" in flag["text"]
