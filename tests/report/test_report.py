"""`wattest report`: known campaigns have known answers, through the command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks.campaigns import Campaign, Figures, Machine, paired_campaign
from wattest.cli import main

FIVE = [1.20, 1.25, 1.30, 1.35, 1.40]


def said(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    """Return what the command says, of a report as Markdown."""
    assert main(["report", "--format", "markdown", *map(str, arguments)]) == code
    output = capsys.readouterr()
    return output.err if code else output.out


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """Return a report's numbers."""
    assert main(["report", "--format", "json", *map(str, arguments)]) == 0
    return json.loads(capsys.readouterr().out)


def load_row(document: Any, key: str) -> Any:
    (study,) = document["studies"]
    return next(row for row in study["load_rows"] if row["quantity"]["key"] == key)["estimate"]


def effect(document: Any, name: str, key: str, arm: str = "alone") -> Any:
    (study,) = document["studies"]
    rows = [row for row in study["hyperparameters"] if (row["name"], row["arm"]) == (name, arm)]
    (one,) = [one for row in rows for one in row["effects"] if one["quantity"]["key"] == key]
    return one


def test_five_pairs_have_a_ratio_with_its_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paired_campaign(tmp_path, FIVE)
    text = said(capsys, tmp_path)
    assert "| GPU energy | ×1.2981 [1.2035, 1.4001] | 5 pairs |" in text
    assert "10 of 10 count" in text
    assert "in randomised blocks, as planned" in text


def test_two_pairs_have_a_ratio_and_no_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paired_campaign(tmp_path, [1.2, 1.3])
    text = said(capsys, tmp_path)
    assert "| GPU energy | ×1.2490 | 2 pairs | - | 2 pairs: an interval needs 3 |" in text


def test_repetitions_are_averaged_before_anything_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign, alone = Campaign(tmp_path, repetitions=2), Figures()
    for rate, ratios in ((0.1, (1.1, 1.2)), (0.2, (1.3, 1.4)), (0.4, (1.2, 1.6))):
        for number, ratio in enumerate(ratios, start=1):
            loaded = alone.times(gpu=ratio)
            campaign.pair({"learning_rate": rate}, alone, loaded, repetition=number)
    found = load_row(told(capsys, tmp_path), "gpu_energy")
    logs = [math.log(1.1 * 1.2) / 2, math.log(1.3 * 1.4) / 2, math.log(1.2 * 1.6) / 2]
    mean = sum(logs) / 3
    error = math.sqrt(sum((one - mean) ** 2 for one in logs) / 2 / 3)
    half = 4.302652729911275 * error
    assert (found["n"], found["unit"]) == (3, "configurations")
    assert found["value"] == pytest.approx(math.exp(mean), rel=1e-9)
    assert found["low"] == pytest.approx(math.exp(mean - half), rel=1e-9)
    assert found["high"] == pytest.approx(math.exp(mean + half), rel=1e-9)


def test_time_times_power_is_energy_and_the_load_moderates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = Campaign(tmp_path)
    noise = (1.01, 0.99, 1.02, 0.98, 1.0)
    for number, wobble in enumerate(noise):
        x = 0.01 * 2**number
        alone = Figures().times(1.5**number * wobble, 1.5**number, 1.8**number * wobble)
        campaign.pair({"learning_rate": x}, alone, alone.times(1.2, 1.1, 1.3 * 1.05**number))
    document = told(capsys, tmp_path)
    time = effect(document, "learning_rate", "duration")
    energy = effect(document, "learning_rate", "gpu_energy")
    product = time["estimate"]["value"] * energy["power"]["value"]
    assert product == pytest.approx(energy["estimate"]["value"], rel=1e-12)
    # By hand: the slope of wobbles of ±1, ±2 % over five equidistant places.
    centered = [-2, -1, 0, 1, 2]
    drift = sum(c * math.log(w) for c, w in zip(centered, noise, strict=True)) / 10
    assert time["estimate"]["value"] == pytest.approx(1.5 * math.exp(drift), rel=1e-9)
    assert energy["change"]["value"] == pytest.approx(1.05, rel=1e-9)
    assert energy["estimate"]["low"] < energy["estimate"]["value"] < energy["estimate"]["high"]


def test_a_range_with_zero_is_fitted_as_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = Campaign(tmp_path)
    for x, wobble in ((0.0, 1.01), (0.1, 0.99), (0.2, 1.01), (0.3, 0.99), (0.4, 1.0)):
        campaign.run({"dropout": x}, Figures().times(wobble * 2 ** (10 * x)))
    text = said(capsys, tmp_path)
    assert "adding 0.1 to dropout" in text
    found = effect(told(capsys, tmp_path), "dropout", "duration")["estimate"]
    assert found["value"] == pytest.approx(2, rel=0.02)
    assert found["low"] < 2 < found["high"]


def test_levels_are_compared_with_the_lowest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = Campaign(tmp_path, design="factorial")
    wobbles = iter((1.01, 0.99, 1.02, 0.98, 1.0, 1.01, 0.99, 1.0, 1.01))
    for depth, factor in ((1, 1.0), (2, 1.5), (3, 1.8)):
        for width in (8, 16, 32):
            figures = Figures().times(factor * next(wobbles))
            campaign.run({"depth": depth, "width": width}, figures)
    (study,) = told(capsys, tmp_path)["studies"]
    steps = {row["step"]: row for row in study["hyperparameters"] if row["name"] == "depth"}
    assert list(steps) == ["2 instead of 1 for", "3 instead of 1 for"]
    estimate = steps["3 instead of 1 for"]["effects"][0]["estimate"]
    assert estimate["low"] < 1.8 < estimate["high"]


def test_too_few_configurations_have_slopes_without_intervals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = Campaign(tmp_path)
    for number in range(3):
        campaign.run({"learning_rate": 0.1 * 2**number}, Figures().times(1.1**number))
    found = effect(told(capsys, tmp_path), "learning_rate", "duration")["estimate"]
    assert found["value"] == pytest.approx(1.1)
    assert found["low"] is None
    assert found["reason"] == "3 configurations: 1 effect needs 4"


def test_what_varies_together_is_not_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = Campaign(tmp_path)
    for number in range(6):
        values = {"learning_rate": 0.1 * 2**number, "batch_size": 8.0 * 2**number}
        campaign.run(values, Figures().times(1.1**number))
    assert "effects cannot be told apart" in said(capsys, tmp_path)


def test_a_changed_machine_is_refused_with_both_values_unless_declared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE)
    odd = Machine(driver="590.10")
    campaign.pair({"learning_rate": 1.0}, Figures(), Figures(), machine=odd)
    campaign.run({"learning_rate": 0.5}, Figures().times(2), machine=odd)
    text = said(capsys, tmp_path)
    assert "driver differs: 580.95 and 590.10; refused" in text
    assert "--across driver" in text
    assert "×1.2981" not in text
    declared = said(capsys, tmp_path, "--across", "driver")
    assert "driver differs, as declared with --across: points only" in declared
    assert "[1." not in declared


@pytest.mark.parametrize("half", [0, 1])
def test_a_pair_of_two_drivers_is_left_out_with_both_values(
    half: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE)
    odd = campaign.pair({"learning_rate": 1.0}, Figures(), Figures().times(gpu=9))[half]
    record = json.loads(odd.read_text())
    record["environment"]["gpus"]["driver_version"] = "590.10"
    odd.write_text(json.dumps(record))
    text = said(capsys, tmp_path)
    assert "1 pair left out" in text
    assert "driver differs: 5" in text
    assert "580.95" in text
    assert "590.10" in text
    assert "| GPU energy | ×1.2981 [1.2035, 1.4001] | 5 pairs |" in text


def test_the_page_tells_every_run_with_its_metrics(tmp_path: Path) -> None:
    paired_campaign(tmp_path, [1.2])
    output = tmp_path / "page.html"
    assert main(["report", str(tmp_path), "-o", str(output)]) == 0
    assert "accuracy=91.4" in output.read_text()
