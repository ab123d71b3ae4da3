"""The properties of a test case in JUnit: none hides another, and what is unknown is left out."""

from __future__ import annotations

from wattest.records import Headline, junit_properties

TOLD = Headline(
    test_id="toy-small-default-1",
    experiment_id="20261128_120000_toy_small",
    verdict="valid",
    duration_seconds=3.5,
    cpu_energy_total_joules=None,
    cpu_energy_estimated_joules=None,
    gpu_energy_total_joules=None,
    load_alive_share=None,
    retries=0,
    performance_metrics={},
    mutated={"learning_rate": 0.1},
    reasons=[],
    flags=[],
    session_id="20261128_115900_77",
)


def test_a_metric_that_is_called_like_a_property_hides_none_and_is_not_hidden() -> None:
    metrics = {
        "accuracy": 91.5, "duration_seconds": 1.0, "metric_duration_seconds": 2.0, "reasons": 4.0,
        "mutated_learning_rate": 3.0, "verdict": 5.0, "gpu_energy_total_joules": None,
    }  # fmt: skip
    told = junit_properties(Headline(**{**vars(TOLD), "performance_metrics": metrics}))
    found = dict(told)
    assert len(found) == len(told)
    assert found["duration_seconds"] == "3.5"
    assert found["accuracy"] == "91.5"
    assert found["mutated_learning_rate"] == "0.1"
    assert found["verdict"] == "valid"
    assert found["metric_verdict"] == "5.0"
    assert found["metric_reasons"] == "4.0"
    assert found["metric_mutated_learning_rate"] == "3.0"
    assert {found["metric_duration_seconds"], found["metric_metric_duration_seconds"]} == {
        "1.0",
        "2.0",
    }
    assert "gpu_energy_total_joules" not in found


def test_bytes_of_a_name_that_are_no_utf8_are_written_out() -> None:
    told = Headline(**{**vars(TOLD), "reasons": ["/r\udce9sults is gone"]})
    assert dict(junit_properties(told))["reasons"] == r"/r\xe9sults is gone"
