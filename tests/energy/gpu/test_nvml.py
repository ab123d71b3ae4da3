"""GPU energy against scripted GPUs: true within 1 % and one step, by counter or by integral."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from gpuscenes import Outcome, played
from recordschema import energy_faults


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> Mapping[str, Outcome]:
    return played(tmp_path_factory.getbasetemp() / "nvml")


@pytest.mark.parametrize(
    "name",
    [
        "counter at 100 ms",
        "counter at 20 ms",
        "burst in the first 200 ms",
        "burst in the last 200 ms",
        "no counter",
        "no counter and no fields",
        "lost for a moment",
        "slow calls",
        "throttled",
        "no temperature",
        "no counter, load from the opening edge",
        "no counter, burst at the closing edge",
        "no counter, average lost",
        "short gap of power",
        "another than the named is lost",
        "list ends at no GPU",
    ],
)
def test_the_energy_of_a_gpu_is_true(outcomes, name):
    outcomes[name].assert_true(0)


def test_two_gpus_have_their_own_numbers_and_their_sum(outcomes):
    outcome = outcomes["two GPUs"]
    outcome.assert_true(0, 1)
    first, second = outcome.domain["gpus"]
    assert [first["uuid"], second["uuid"]] == [gpu.uuid for gpu in outcome.gpus]
    assert first["joules"] == pytest.approx(outcome.truth(0), rel=0.01, abs=12)
    assert second["joules"] == pytest.approx(outcome.truth(1), rel=0.01, abs=30)
    late = 40 * outcome.opened_seconds
    assert outcome.metrics["gpu_power_max_watts"] == pytest.approx(420, abs=12)
    assert outcome.metrics["gpu_power_min_watts"] == pytest.approx(220 + late, abs=12)
    assert outcome.found["promised"] == [gpu.uuid for gpu in outcome.gpus]


def test_whatever_a_gpu_does_its_record_is_one(outcomes):
    measured = [one.found for one in outcomes.values() if "provenance" in one.found]
    assert len(measured) > 40
    faults = [energy_faults(found["metrics"], found["provenance"]) for found in measured]
    assert list(filter(None, faults)) == []


def test_only_visible_gpus_count(outcomes):
    outcome = outcomes["second of two by index"]
    outcome.assert_true(1)
    assert outcome.domain["uuids"] == [outcome.gpus[1].uuid]


def test_the_update_period_of_the_counter_is_inferred(outcomes):
    # On a busy machine nobody looks at the very moment of an update: how well a period is inferred
    # from what was seen is judged where the counter is told when to move.
    slow, fast = outcomes["counter at 100 ms"], outcomes["counter at 20 ms"]
    assert 0 < fast.domain["update_period_seconds"] < 0.05
    assert 0.05 < slow.domain["update_period_seconds"] < 0.2


def test_the_resolution_of_the_counter_is_inferred(outcomes):
    slow, fast = outcomes["counter at 100 ms"], outcomes["counter at 20 ms"]
    assert slow.domain["resolution_joules"] == pytest.approx(10.0, rel=0.02)
    assert slow.domain["gpus"][0]["resolution_joules"] == slow.domain["resolution_joules"]
    assert fast.domain["resolution_joules"] == pytest.approx(1.6, rel=0.02)


@pytest.mark.parametrize("name", ["frozen from the start", "no counter"])
def test_a_resolution_that_was_not_seen_is_null(outcomes, name):
    assert outcomes[name].domain["resolution_joules"] is None


def test_the_lag_of_an_average_is_part_of_the_uncertainty(outcomes):
    outcome = outcomes["no counter and no fields, a step"]
    assert outcome.domain["edge_uncertainty_joules"] >= (400 - 70) / 2
    assert outcomes["no counter"].domain["edge_uncertainty_joules"] < 100


@pytest.mark.parametrize("name", ["no counter", "no counter and no fields"])
def test_without_a_counter_the_integral_is_used_and_labelled(outcomes, name):
    outcome = outcomes[name]
    assert outcome.domain["source"] == "nvml-power-integral"
    assert outcome.domain["counter_joules"] is None
    assert "power_source" in outcome.domain["gpus"][0]


def test_power_is_integrated_over_the_actual_times_of_its_samples(outcomes):
    outcome = outcomes["no counter, irregular samples"]
    outcome.assert_true(0)
    samples = outcome.domain["gpus"][0]["samples"]
    assert samples < 40


def test_a_counter_that_stands_at_0_is_no_counter(outcomes):
    outcome = outcomes["counter that stands at 0"]
    assert outcome.domain["source"] == "nvml-power-integral"
    outcome.assert_true(0)


def test_both_energies_are_recorded_and_agree(outcomes):
    gpu = outcomes["counter at 100 ms"].domain["gpus"][0]
    assert gpu["integral_joules"] == pytest.approx(gpu["counter_joules"], rel=0.08)
    assert gpu["power_source"] == "field 186 (POWER_INSTANT)"


def test_aliased_power_sampling_is_flagged_and_the_counter_stands(outcomes):
    outcome = outcomes["sampled 25 of 100 ms"]
    outcome.assert_true(0)
    assert "counter_integral" in outcome.flags
    gpu = outcome.domain["gpus"][0]
    assert abs(gpu["integral_joules"] / gpu["counter_joules"] - 1) > 0.2
    assert gpu["second_integral_joules"] == pytest.approx(gpu["counter_joules"], rel=0.05)


def test_aliased_power_without_a_second_opinion_is_a_flag_on_a_good_counter(outcomes):
    outcome = outcomes["aliased, without a second opinion"]
    outcome.assert_true(0)
    assert "counter_integral" in outcome.flags
    assert outcome.domain["gpus"][0]["second_integral_joules"] is None


def test_the_counter_of_a_superchip_counts_where_it_agrees_with_the_power_of_the_board(outcomes):
    outcome = outcomes["superchip"]
    outcome.assert_true(0)
    assert outcome.domain["gpus"][0]["counter_scope"] == "board"
    assert "gpu_scope" not in outcome.flags


def test_a_counter_that_covers_the_module_never_stands_for_the_board(outcomes):
    outcome = outcomes["superchip whose counter covers the module"]
    outcome.assert_true(0)
    gpu = outcome.domain["gpus"][0]
    assert (gpu["scope"], gpu["counter_scope"]) == ("board", "module")
    assert outcome.domain["source"] == "nvml-power-integral"
    assert "gpu_scope" in outcome.flags
    assert outcome.found["latest"]["gpu_joules"] is None, "which of the two counts is told later"


def test_a_superchip_whose_scope_nobody_tells_is_flagged(outcomes):
    outcome = outcomes["superchip without fields"]
    assert outcome.domain["gpus"][0]["counter_scope"] == "unknown"
    assert "gpu_scope" in outcome.flags


def test_aliased_power_is_refused_where_there_is_no_counter(outcomes):
    outcome = outcomes["aliased without counter"]
    outcome.assert_refused("power_readings", "aliasing: its two power readings disagree")
    assert outcome.domain["joules_until_failure"] < 0.4 * outcome.truth()


def test_power_that_aliases_a_little_is_flagged_where_there_is_no_counter(outcomes):
    outcome = outcomes["aliased a little without counter"]
    assert outcome.found["faults"] == []
    assert outcome.metrics["gpu_energy_total_joules"] is not None
    (flag,) = [one for one in outcome.found["flags"] if one["gate"] == "power_readings"]
    assert flag["value"] == pytest.approx(-5.0, abs=0.5)
    assert flag["threshold"] == 3.0


@pytest.mark.parametrize(
    "name",
    [
        "no counter",
        "no counter, irregular samples",
        "no counter, load from the opening edge",
        "no counter, burst at the closing edge",
    ],
)
def test_that_an_average_lags_behind_is_no_aliasing(outcomes, name):
    gpu = outcomes[name].domain["gpus"][0]
    assert abs(gpu["second_integral_joules"] / gpu["integral_joules"] - 1) > 0.03
    assert "power_readings" not in outcomes[name].flags


def test_a_second_power_reading_that_stops_is_not_compared_and_that_is_flagged(outcomes):
    (flag,) = [
        one
        for one in outcomes["no counter, average lost"].found["flags"]
        if one["gate"] == "power_readings"
    ]
    assert "not compared" in flag["text"]


@pytest.mark.parametrize("name", ["burst in a gap of power", "gap of power at the opening edge"])
def test_a_gap_of_power_is_refused_where_there_is_no_counter(outcomes, name):
    outcomes[name].assert_refused("integral_gap", "without a power reading cannot be integrated")


def test_a_short_gap_of_power_is_flagged_where_there_is_no_counter(outcomes):
    (flag,) = [
        one
        for one in outcomes["short gap of power"].found["flags"]
        if one["gate"] == "integral_gap"
    ]
    assert 4 < flag["value"] < 10
    assert flag["threshold"] == 2.0
    assert "integral_gap" not in outcomes["no counter"].flags
    assert "integral_gap" not in outcomes["lost for a moment"].flags


def test_power_of_0_w_is_no_energy(outcomes):
    outcomes["no counter and 0 W"].assert_refused("no_value", "gives 0 J")
    outcome = outcomes["one of two at 0 W"]
    outcome.assert_refused("no_value", outcome.gpus[1].uuid)
    assert outcome.domain["gpus"][0]["joules"] == pytest.approx(outcome.truth(0), rel=0.03)
    assert outcome.domain["gpus"][1]["joules"] is None
