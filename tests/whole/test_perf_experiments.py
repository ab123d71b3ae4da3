"""Perf events as the meter of whole experiments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.perf import DRAM, PACKAGE, PerfUnit, build_fake_perf, perf_environment
from fakes.powercap import Event, PowercapWriter
from fakes.profile import steady

from conftest import Project


@pytest.fixture
def unit(project: Project, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Lay out a machine whose kernel counts packages and DRAM; the folders of both counters."""
    sys_root, stage = project.path / "sys", project.path / "stage"
    for name, value in perf_environment(build_fake_perf(project.path), stage).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WATTEST_SYSFS", str(sys_root))
    unit = PerfUnit(sys_root, stage)
    return [*unit.add_event(PACKAGE), *unit.add_event(DRAM)]


@pytest.fixture
def counting(unit: list[Path]) -> Iterator[None]:
    with PowercapWriter({unit[0]: steady(80), unit[1]: steady(6)}):
        yield


def record_of(project: Project, seconds: float, code: int) -> dict[str, Any]:
    hyperparameters = {"seconds": seconds}
    project.settings({"repo": "toy", "model": "small", "hyperparameters": hyperparameters})
    result = project.run()
    assert result.ret == code, result.stdout.str()
    (record,) = project.records()
    return record


@pytest.mark.usefixtures("counting")
def test_what_perf_counted_is_recorded_as_measured_by_perf(project: Project) -> None:
    record = record_of(project, 2.2, 0)
    energy = record["energy_metrics"]
    domain = record["energy_provenance"]["domains"]["cpu_pkg"]
    assert domain["source"] == "perf"
    seconds = record["duration_seconds"]
    uncertain = domain["edge_uncertainty_joules"]
    assert energy["cpu_energy_pkg_joules"] == pytest.approx(80 * seconds, rel=0.1, abs=uncertain)
    assert energy["cpu_energy_ram_joules"] == pytest.approx(6 * seconds, rel=0.1, abs=uncertain)


def test_a_counter_that_the_kernel_gives_up_makes_the_experiment_invalid(
    project: Project, unit: list[Path]
) -> None:
    trigger = project.path / "repos" / "toy" / "midway"
    project.program(
        "toy", f"#!/bin/sh\nsleep 0.8\ntouch {trigger.name}\nsleep 1\necho Accuracy: 1\n"
    )
    zones, events = {one: steady(80) for one in unit}, {unit[0]: [Event("unlink", 0.0)]}
    with PowercapWriter(zones, events, trigger=trigger):
        record = record_of(project, 1.8, 1)
    assert record["training_success"] is False
    assert "power/energy-pkg/: no reading at the closing edge" in record["error_message"]
    assert record["energy_metrics"]["cpu_energy_pkg_joules"] is None
    assert record["energy_metrics"]["cpu_energy_ram_joules"] is not None
