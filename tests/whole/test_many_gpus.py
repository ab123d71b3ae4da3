"""Several workers on one server: one GPU each, no joule counted twice, refusals before a start."""

from __future__ import annotations

import json
import os
import signal
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from gpuserver import (
    PACKAGE_WATTS,
    Server,
    gpu_server,
    gpus_of,
    result_of,
    seen_gpu,
    uuid,
    window_of,
)
from livesession import LiveSession

from conftest import TOY, Project
from wattest.config.schema import schema_faults
from wattest.energy import VisibleGpu
from wattest.machine import seats
from wattest.machine.counters import gpu_counter
from wattest.machine.lease import take
from wattest.plugin import team
from wattest.process.owner import Owner

pytestmark = pytest.mark.usefixtures("alone")


def campaign(project: Project, seconds: float, count: int) -> None:
    project.settings({**TOY, "hyperparameters": {"seconds": seconds}, "repetitions": count}, seed=3)


def test_each_record_is_of_one_gpu_and_no_joule_is_counted_twice(project: Project) -> None:
    """Three of four GPUs, in an order of the caller's own, named by UUIDs; one worker is killed."""
    with gpu_server(project, variable=f"{uuid(2)},{uuid(0)},{uuid(3)}") as server:
        campaign(project, 1.5, 6)
        arguments = ("-n", "auto", "--junit-xml", "junit.xml")
        with LiveSession(project, *arguments, terminal=True) as session:
            session.until(lambda: len(running(project)) == 3, "three trainings run")
            session.await_text("gw1  toy-small-default-")
            session.await_text("\x1b[1A\x1b[J")
            os.kill(running(project)[0], signal.SIGKILL)
            assert session.wait(60) == 1, session.output()
            assert session.left() == []
        assert "workers: 3, one GPU each: GPU-" in session.output()
        records = project.records()
        for record in records:
            check_gpu(project, server, record)
        check_cpu(server, records)
        for name in (uuid(0), uuid(2), uuid(3)):
            lane = [one for one in records if gpus_of(one) == [name]]
            places = [one["plan"]["position"] for one in lane]
            assert places == sorted(places)
            windows = sorted(map(window_of, lane))
            assert all(one[1] <= after[0] for one, after in pairwise(windows))
        rows = project.rows()
        names = {case.get("name") for case in ET.parse(project.path / "junit.xml").iter("testcase")}
        again = project.run_here("--resume", "--cpu-energy", "off")
    assert {row["experiment_id"] for row in rows} == {one["experiment_id"] for one in records}
    assert {one["plan"]["session_id"] for one in records} == {rows[0]["session_id"]}
    assert len(names) == 6
    assert again.ret == 0, again.stdout.str()
    assert f"resume: {len(records)} of 6 experiments found finished" in again.stdout.str()
    assert len({one["plan"]["test_id"] for one in project.records()}) == 6
    last = max(project.records(), key=lambda one: one["timestamp"])
    domain = result_of(last)["energy_provenance"]["domains"]["cpu_pkg"]
    assert (domain["status"], domain["energy_joules"]) == ("unavailable", None)
    assert domain["reason"] == "cpu: left out by --cpu-energy off"
    assert last["energy_estimate"] is None
    assert last["concurrency"]["neighbours"] is None


def check_gpu(project: Project, server: Server, record: Any) -> None:
    """Check that a training saw the one GPU that its record has measured, truly."""
    assert schema_faults(record, "result", "record") == []
    (gpu,) = gpus_of(record)
    assert seen_gpu(project.path / "results", record) == gpu
    joules = record["energy_metrics"]["gpu_energy_total_joules"]
    assert joules == pytest.approx(server.gpu_joules(record), rel=0.05)
    assert record["environment"]["concurrency"]["own_counters"] == [gpu]


def check_cpu(server: Server, records: Sequence[Any]) -> None:
    """Check that what several trainings used together is nobody's own, and the sum is true."""
    measured = 0.0
    for record in records:
        domain = record["energy_provenance"]["domains"]["cpu_pkg"]
        neighbours = record["concurrency"]["neighbours"]
        opened, closed = window_of(record)
        others = {
            one["experiment_id"]
            for one in records
            if one is not record and min(closed, window_of(one)[1]) > max(opened, window_of(one)[0])
        }
        assert others <= {one["experiment_id"] for one in neighbours}
        if not neighbours:
            assert domain["status"] == "measured"
            measured += domain["energy_joules"]
            continue
        assert domain["status"] == "shared"
        assert record["energy_metrics"]["cpu_energy_total_joules"] is None
        assert record["energy_estimate"] is None
        late = sum(map(server.writer.late_seconds, (opened, closed)))
        assert domain["shared_joules"] == pytest.approx(
            server.package_joules(opened, closed), abs=PACKAGE_WATTS * (0.1 + late)
        )
        assert all(0 < one["seconds"] <= (closed - opened) / 1e9 for one in neighbours)
    assert any(one["concurrency"]["neighbours"] for one in records)
    edges = [edge for record in records for edge in window_of(record)]
    assert measured <= server.package_joules(min(edges), max(edges))


def running(project: Project) -> list[int]:
    """Return the PIDs of the workers that are training, by what they say of it."""
    files = sorted((project.path / "results/sessions").glob("*/gw*/running.json"))
    return [Owner.parse(json.loads(file.read_text())["owner"]).pid for file in files]


def test_more_workers_than_free_gpus_are_refused_before_one_starts(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = [
        VisibleGpu(str(number), uuid(number), f"00000000:0{number}:00.0") for number in range(4)
    ]
    monkeypatch.setattr(team, "visible_devices", lambda environment: gpus)
    monkeypatch.setattr(seats, "_LOOK_SECONDS", 0.0)

    def refused(said: str, *arguments: str) -> None:
        result = project.refusal(*arguments)
        result.stderr.fnmatch_lines([f"ERROR: {said}*"])
        assert "created:" not in result.stdout.str()

    with gpu_server(project):
        campaign(project, 0.5, 6)
        refused("5 workers need a GPU each, and only 4 are visible", "-n", "5")
        root = project.path / "sys"
        held = [gpu_counter(gpu.uuid, gpu.pci_bus_id, root).reserve() for gpu in gpus]
        with take(held):
            said = f"need a GPU each, and 0 of 4 are free (PID {os.getpid()} already measures on"
            refused(f"2 workers {said}", "-n", "2")
            refused(f"4 workers {said}", "-n", "auto")
        refused("--cpu-energy exclusive: 2 workers", "-n", "2", "--cpu-energy", "exclusive")
        refused("--tx ssh=elsewhere: a worker on another host", "-d", "--tx", "ssh=elsewhere")
    assert project.records() == []


def test_who_shares_the_cpu_and_runs_alone_measures_it(project: Project, sysfs: Path) -> None:
    campaign(project, 0.5, 1)
    result = project.run_here("--cpu-energy", "shared", "--sysfs", str(sysfs))
    assert result.ret == 0, result.stdout.str()
    record = project.record()
    assert record["concurrency"] == {"neighbours": []}
    assert record["energy_provenance"]["domains"]["cpu_pkg"]["status"] == "measured"
    told = record["environment"]["concurrency"]
    assert (told["workers"], told["cpu_energy"], told["own_counters"]) == (None, "shared", [])
    assert [name.partition(" ")[0] for name in told["shared_counters"]] == ["intel-rapl:0"]


def test_without_any_energy_any_number_of_workers_may_rehearse(project: Project) -> None:
    """The disk takes no CSV meanwhile: that costs no result."""
    campaign(project, 0.1, 2)
    full = "raise OSError(28, 'No space left on device', 'experiments.csv')"
    project.interfere("records.table:Table.add", full)
    result = project.run("-n", "2", "--cpu-energy", "off")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["*warning * experiments.csv: No space left on device; the rec*"])
    assert [one["environment"]["concurrency"]["workers"] for one in project.records()] == [2, 2]


def test_an_interrupted_team_names_each_test_in_junit(project: Project) -> None:
    with gpu_server(project, variable=f"{uuid(0)},{uuid(1)}"):
        campaign(project, 1.0, 6)
        with LiveSession(project, "-n", "2", "--junit-xml", "junit.xml") as session:
            session.until(lambda: len(running(project)) == 2, "two trainings run")
            session.send(signal.SIGTERM)
            assert session.wait(60) == 2, session.output()
            assert session.left() == []
        cases = list(ET.parse(project.path / "junit.xml").iter("testcase"))
        waiting = [case for case in cases if case.find("skipped") is not None]
    assert len({case.get("name") for case in cases}) == len(cases) == 6
    assert len(waiting) == 6 - len(project.records())
    assert "--resume runs it" in str(waiting[0].find("skipped").attrib)  # type: ignore[union-attr]
    assert "skipped" not in session.output()
