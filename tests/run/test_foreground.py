"""An attempt keeps what is known of it, whatever the training does to its own files."""

from __future__ import annotations

from conftest import TOY, Project

REMOVES_ITS_LOG = """\
#!/bin/sh
sleep 0.2
rm ../../results/*.log
echo "Accuracy: 91.5"
"""


def test_a_log_that_vanishes_costs_the_metrics_and_nothing_else(project: Project) -> None:
    project.program("toy", REMOVES_ITS_LOG)
    project.settings({**TOY, "hyperparameters": {}}, max_retries=1)
    assert project.run_here().ret == 1
    (record,) = project.records()
    (attempt,) = record["attempts"]
    assert attempt["exit_code"] == 0
    assert record["duration_seconds"] >= 0.2
    assert record["energy_provenance"]["window"]["duration_seconds"] >= 0.2
    assert record["performance_metrics"] == {"accuracy": None}
    assert "cannot be read: No such file" in record["error_message"]


def test_a_training_that_fails_and_takes_its_log_away_is_tried_again(project: Project) -> None:
    project.program("toy", f"{REMOVES_ITS_LOG}exit 3\n")
    project.settings({**TOY, "hyperparameters": {}}, max_retries=1)
    assert project.run_here().ret == 1
    (record,) = project.records()
    assert [attempt["exit_code"] for attempt in record["attempts"]] == [3, 3]
