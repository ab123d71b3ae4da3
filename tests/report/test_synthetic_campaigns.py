"""The generator of the report's tests leaves records as sessions do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.campaigns import Campaign, Figures, bumpy, paired_campaign
from wattest.config.schema import schema_faults
from wattest.records import read_record


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
@pytest.mark.parametrize("estimated", [False, True], ids=["measured", "estimated"])
def test_a_campaign_that_never_ran_leaves_valid_records(
    tmp_path: Path, old: bool, estimated: bool
) -> None:
    campaign = paired_campaign(tmp_path, [1.2, 1.3], old=old, estimated=estimated)
    campaign.run({"learning_rate": 0.1}, Figures(gpu_joules=None), reasons=["exit code 3"])
    runs = [(-5.0, 30.0, 0), (30.1, None, None)]
    campaign.run({}, Figures(), "parallel", power=bumpy(), load_runs=runs, flags=["short"])
    paths = sorted(tmp_path.glob("*.json"))
    assert len(paths) == 6
    for path in paths:
        assert schema_faults(json.loads(path.read_text()), "result", path.name) == []
        assert read_record(path) is not None
    assert len(list(tmp_path.glob("energy_*/*.csv"))) == 2


def test_halves_of_a_pair_name_each_other(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    halves = [
        json.loads(path.read_text())["plan"]
        for _ in range(2)
        for path in campaign.pair({"lr": 0.1}, Figures(), Figures())
    ]
    partners = {half["test_id"]: half["partner"] for half in halves}
    assert len(partners) == 4
    assert all(partners[partners[one]] == one for one in partners)
    assert len({half["configuration_key"] for half in halves}) == 1
    assert len({half["experiment_key"] for half in halves}) == 4
