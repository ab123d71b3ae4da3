"""`perf stat` as the meter of whole experiments: a supervised child of the session."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from fakes.perf import DRAM, PACKAGE, install_fake_perf
from livesession import LiveSession
from oracle import proc_file

from conftest import Project

WATTS = {PACKAGE: 80.0, DRAM: 6.0}


@pytest.fixture
def perf(project: Project, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Install a fake perf before all others, on a machine without a powercap tree."""

    def install(**plan: Any) -> None:
        folder = install_fake_perf(project.path / "bin", watts=WATTS, **plan)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return install


def train_for(project: Project, seconds: float) -> None:
    hyperparameters = {"seconds": seconds}
    project.settings({"repo": "toy", "model": "small", "hyperparameters": hyperparameters})


def test_what_perf_counted_is_recorded_as_measured_by_perf(project: Project, perf: Any) -> None:
    perf()
    train_for(project, 2.2)
    assert project.run_here().ret == 0
    (record,) = project.records()
    energy = record["energy_metrics"]
    domain = record["energy_provenance"]["domains"]["cpu_pkg"]
    assert domain["source"] == "perf"
    seconds = record["duration_seconds"]
    uncertain = domain["edge_uncertainty_joules"]
    assert energy["cpu_energy_pkg_joules"] == pytest.approx(80 * seconds, rel=0.1, abs=uncertain)
    assert energy["cpu_energy_ram_joules"] == pytest.approx(6 * seconds, rel=0.1, abs=uncertain)


def test_a_perf_that_dies_makes_the_experiment_invalid(project: Project, perf: Any) -> None:
    perf(dies_after=1.5)
    train_for(project, 2.5)
    assert project.run_here().ret == 1
    (record,) = project.records()
    assert record["training_success"] is False
    assert "perf ended" in record["error_message"]
    assert record["energy_metrics"]["cpu_energy_pkg_joules"] is None


def test_no_perf_outlives_a_killed_session(project: Project, perf: Any) -> None:
    perf()
    train_for(project, 60)
    log = project.path / "repos" / "toy" / "born"
    project.program("toy", f"#!/bin/sh\ntouch {log.name}\nexec sleep 60\n")
    with LiveSession(project, "--config", "settings/test.json") as session:
        session.until(log.exists, "the training runs")
        assert any(b"perf" in proc_file(one.pid, "cmdline") for one in session.look())
        session.send(signal.SIGKILL)
        session.wait()
        assert session.left() == []
