"""Whose energy: a real campaign of all arms, killed and resumed, against what really was used."""

from __future__ import annotations

from pathlib import Path

import pytest
from attributed import Scene, compared, lay_out, run_killed, stage
from fakes.occupied import OccupiedMachine

from conftest import Project
from wattest.report import arms

QUICK = Scene(training=0.5, load_epoch=0.25, load_run=60, idle=0.3, wobble=1.0, blocks=1)


def test_a_killed_and_resumed_campaign_tells_whose_energy_it_was(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A window of a second says too little of a load's power, in earnest.
    monkeypatch.setattr(arms, "LEAST_LOAD_SECONDS", 0.5)
    monkeypatch.setattr(arms, "HALVES_APART", 0.5)
    root, zone = stage(tmp_path)
    lay_out(project, QUICK, project.path / "here")
    with OccupiedMachine(zone, project.path / "here") as machine:
        assert run_killed(project, root, 60) == []
        found = compared(project, machine)
    assert len({one.mutant for one in found}) == 2
    assert len(found) == 2 * 7
    for one in found:
        assert one.row.estimate.value is not None, (one.row.title, one.row.estimate.reason)
        # In windows this short a look at the load's log, up to 0.1 s late, weighs much.
        assert one.row.estimate.value == pytest.approx(one.true, rel=0.03, abs=60 * 0.2), one
