"""Every refusal is seen on the first screen, with its sentence; and damage with its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.campaigns import Campaign, Figures, Machine, paired_campaign
from wattest import read_results
from wattest.cli import main

FIVE = [1.20, 1.25, 1.30, 1.35, 1.40]
RIGHT = "| GPU energy | ×1.2981 [1.2035, 1.4001] | 5 pairs |"
Document = dict[str, Any]


def first_screen(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return what a report says before its details."""
    assert main(["report", "--format", "markdown", *map(str, arguments)]) == 0
    return capsys.readouterr().out.split("## Energy against metric")[0]


def changed(path: Path, change: Callable[[Document], object]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_an_invalid_half_leaves_out_its_pair_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE)
    alone = campaign.pair({"learning_rate": 1.0}, Figures(), Figures())[1]
    bad = {"verdict": "invalid", "reasons": ["exit code 3"]}
    changed(alone, lambda one: one.update(training_success=False, quality=one["quality"] | bad))
    text = first_screen(capsys, tmp_path)
    assert "11 of 12 count" in text
    assert f"invalid: {alone.stem} (exit code 3)" in text
    assert "1 pair left out" in text
    assert "toy-small-baseline-6 is invalid: exit code 3" in text
    assert RIGHT in text


def test_hundreds_of_invalid_runs_leave_room_for_what_else_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE)
    for number in range(30):
        campaign.run({"learning_rate": 9.0}, Figures(), repetition=number + 1, paired=True,
                     reasons=["exit code 3"])  # fmt: skip
    text = first_screen(capsys, tmp_path)
    assert text.count("- invalid: ") == text.count("- left out: ") == 20
    assert "- 10 more invalid runs: see every run, or --format json" in text
    assert "30 pairs left out" in text
    assert RIGHT in text


def test_a_missing_half_and_one_of_another_session_leave_out_their_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE)
    campaign.pair({"learning_rate": 1.0}, Figures(), Figures())[0].unlink()
    other = campaign.pair({"learning_rate": 2.0}, Figures(), Figures())[1]
    changed(other, lambda record: record["plan"].update(session_id="another"))
    later = Campaign(tmp_path / "later", session="later", seed=8)
    for _ in range(6):
        later.run({"learning_rate": 1.0}, Figures(), "parallel", paired=True)
    text = first_screen(capsys, tmp_path)
    assert "toy-small-baseline-6: its other half, toy-small-parallel-6, is missing" in text
    assert "its other half, toy-small-baseline-7, is of another session" in text
    assert RIGHT in text


def test_what_ran_twice_in_a_session_is_paired_once_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE)
    again = Campaign(tmp_path, count=campaign.count)
    again.run({"learning_rate": 0.001}, Figures().times(gpu=1.2), "parallel", paired=True)
    text = first_screen(capsys, tmp_path)
    assert "left out: toy-small-parallel-1: ran 2 times in session" in text
    assert RIGHT in text


def test_a_campaign_with_every_kind_of_damage_is_reported_rightly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE)
    odd = campaign.pair({"learning_rate": 1.0}, Figures(), Figures())[0]
    changed(odd, lambda one: one["environment"]["gpus"].update(driver_version="590.10"))
    cut = campaign.pair({"learning_rate": 2.0}, Figures(), Figures())[1]
    cut.write_text(cut.read_text()[:-100])
    once = min(tmp_path.glob("*.json"))
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / once.name).write_text(once.read_text())
    (tmp_path / "settings.json").write_text('{"experiments": []}')
    campaign.run({"learning_rate": 4.0}, Figures(), reasons=["the load died"])
    assert main(["report", "--format", "markdown", str(tmp_path)]) == 0
    output = capsys.readouterr()
    text = output.out.split("## Energy against metric")[0]
    assert f"{cut.name}: is damaged or cut short" in output.err
    assert f"damaged: {cut.name} is damaged or cut short" in text
    assert "13 of 14 count" in text
    assert "2 pairs left out" in text
    assert "driver differs: 590.10 and 580.95" in text
    assert "1 copy of records passed over: each counts once" in text
    assert "1 JSON passed over that are none of ours" in text
    assert "(the load died)" in text
    assert RIGHT in text


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        ("as_written", "the order was as written, so time and effect cannot be told apart"),
        (None, "records do not tell the order of the runs"),
    ],
)
def test_without_a_random_order_there_are_points_only(
    order: str | None, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paired_campaign(tmp_path, FIVE, order=order)
    text = first_screen(capsys, tmp_path)
    assert f"order: {sentence}: points only" in text
    assert f"| GPU energy | ×1.2981 | 5 pairs | - | {sentence}: points only" in text
    assert "[1.2035" not in text


def test_a_campaign_that_ran_out_of_its_plan_has_points_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE)
    last = max(tmp_path.glob("*.json"))
    changed(last, lambda record: record["plan"].update(position=1))
    text = first_screen(capsys, tmp_path)
    assert f"session {campaign.session} ran out of its planned order: points only" in text
    assert "| GPU energy | ×1.2981 | 5 pairs |" in text


def test_the_end_of_summer_time_is_no_other_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paired_campaign(tmp_path, FIVE)
    for path in sorted(tmp_path.glob("*.json"))[6:]:
        changed(path, lambda one: one.update(timestamp=one["timestamp"].replace("T10", "T09")))
    assert RIGHT in first_screen(capsys, tmp_path)


@pytest.mark.parametrize(
    ("machine", "sentence"),
    [
        (Machine(driver="590.10"), "driver differs: 580.95 and 590.10"),
        (Machine(power_limit_watts=300), "power limit differs: 400 W and 300 W"),
        (Machine(cpu_model="Other CPU"), "CPU differs: Fake CPU 9000 and Other CPU"),
        (Machine(kernel="6.9.9"), "kernel differs: 6.1.0 and 6.9.9"),
        (Machine(governor="powersave"), "governor differs: performance and powersave"),
        (Machine(program_digest="cc"), "registry entry differs: aa77900f92a0115d and cc"),
        (Machine(background_digest="cc"), "registry entry of the load differs"),
        (Machine(commit="1" * 40), f"commit differs: {'0' * 40} and {'1' * 40}"),
    ],
    ids=lambda value: value.split(" differs")[0] if isinstance(value, str) else "",
)
def test_what_differs_between_pairs_is_refused_with_both_values(
    machine: Machine, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE)
    campaign.pair({"learning_rate": 1.0}, Figures(), Figures().times(gpu=2), machine=machine)
    text = first_screen(capsys, tmp_path)
    assert f"{sentence}" in text
    assert "refused, unless it is declared" in text
    assert "×" not in text.split("## What does each")[0]


def test_cpu_energy_with_and_without_dram_is_never_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE)

    def with_dram(document: Document) -> None:
        domains = document["foreground_result"]["energy_provenance"]["domains"]
        domains["cpu_ram"] = domains["cpu_pkg"]

    values = {"learning_rate": 1.0}
    campaign.run(values, Figures(), "parallel", paired=True, change=with_dram)
    campaign.run(values, Figures(), paired=True)
    text = first_screen(capsys, tmp_path)
    assert "toy-small-parallel-6: set of CPU counters differs: packages + DRAM and packages" in text
    assert RIGHT in text


def test_pairs_on_several_cards_are_ratios_of_one_card_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE[:-1])
    other = Machine(gpu_uuid="GPU-2")
    loaded = Figures().times(1.2, 1.1, FIVE[-1])
    campaign.pair({"learning_rate": 1.0}, Figures(), loaded, machine=other)
    text = first_screen(capsys, tmp_path)
    assert RIGHT in text
    assert "trainings ran on 2 GPUs; each ratio of a pair is of one" in text
    assert "GPU UUID differs" in text  # No slope over several cards.


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ({"gpu_uuid": "GPU-2"}, "GPU UUID differs: GPU-2 and GPU-00000000-0000-0000"),
        ({"hostname": "node2"}, "host differs: node2 and node1"),
    ],
)
def test_a_pair_of_two_cards_or_hosts_is_left_out_with_both_names(
    where: dict[str, str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE)
    values = {"learning_rate": 1.0}
    campaign.run(values, Figures(), "parallel", paired=True, machine=Machine(**where))
    campaign.run(values, Figures(), paired=True)
    text = first_screen(capsys, tmp_path)
    assert "1 pair left out" in text
    assert f"left out: toy-small-parallel-6: {told}" in text
    assert RIGHT in text


def test_pairs_of_several_hosts_are_said_and_no_reason_to_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE[:-1])
    loaded = Figures().times(1.2, 1.1, FIVE[-1])
    campaign.pair({"learning_rate": 1.0}, Figures(), loaded, machine=Machine(hostname="node2"))
    text = first_screen(capsys, tmp_path)
    assert RIGHT in text
    assert "trainings ran on 2 hosts; each ratio of a pair is of one" in text
    assert "differs" not in text


def test_equal_values_have_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paired_campaign(tmp_path, [1.2] * 4)
    assert "| GPU energy | ×1.2000 | 4 pairs | - | all 4 values are equal: no interval |" in (
        first_screen(capsys, tmp_path)
    )


def test_a_total_needs_both_in_every_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE)
    assert "CPU + GPU energy" in first_screen(capsys, tmp_path)
    campaign.run({"learning_rate": 9.0}, Figures(cpu_joules=None))
    text = first_screen(capsys, tmp_path)
    assert "CPU + GPU energy" not in text
    assert "no total of CPU and GPU: both must be measured in every run (CPU not in 1 run)" in text


def test_estimates_never_mix_with_measurements(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE)
    guess = Campaign(tmp_path, session="later", estimated=True, count=campaign.count)
    guess.pair({"learning_rate": 1.0}, Figures(), Figures().times(cpu=99))
    text = first_screen(capsys, tmp_path)
    assert "CPU energy of 2 runs was only estimated, and is in no number" in text
    assert "~" not in text
    assert "| CPU energy | ×1.0749 [1.0506, 1.0997] | 5 pairs |" in text


def test_a_campaign_without_counters_is_estimated_throughout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paired_campaign(tmp_path, FIVE, estimated=True)
    assert main(["report", "--format", "markdown", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Energy report: toy/small (estimated)\n")
    assert "| ~CPU energy | ~×1.0749 [1.0506, 1.0997] | 5 pairs |" in text
    assert "GPU energy" not in text
    joules = [word for word in text.replace("|", " ").split(" kJ") if word]
    assert all(part.rsplit(" ", 1)[-1].startswith("~") for part in joules[:-1])


def test_what_an_invalid_run_measured_makes_no_report_a_measured_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = paired_campaign(tmp_path, FIVE, estimated=True)
    Campaign(tmp_path, count=campaign.count).run({}, Figures(), reasons=["exit code 3"])
    text = first_screen(capsys, tmp_path)
    assert text.startswith("# Energy report: toy/small (estimated)\n")
    assert "- energy: estimated from CPU time (\\~)" in text


def test_records_that_know_nothing_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign, nothing = Campaign(tmp_path), Figures(60, None, None, {"accuracy": None})
    for number in range(3):
        campaign.pair({"learning_rate": 0.1 * 2**number}, nothing, nothing)
    for path in tmp_path.glob("*.json"):
        record = json.loads(path.read_text())
        result = record.get("foreground_result", record)
        result.update(duration_seconds=None, energy_provenance=None, attempts=[], cpu_use=None)
        record["environment"] = dict.fromkeys(record["environment"])
        path.write_text(json.dumps(record))
    text = first_screen(capsys, tmp_path)
    assert text.startswith("# Energy report: toy/small (no energy is known)\n")
    assert "- energy: not known" in text
    assert "estimates" not in text
    assert main(["show", str(path)]) == 0
    assert "window of -\n" in capsys.readouterr().out
    assert len(read_results(tmp_path)) == 6


def test_the_energy_of_cpus_may_be_an_estimate_beside_a_measured_gpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def guessed(document: Document) -> None:
        result = document.get("foreground_result", document)
        result["energy_estimate"] = {"machine_joules": 3000.0}

    campaign = Campaign(tmp_path, change=guessed)
    for number, ratio in enumerate(FIVE):
        alone = Figures(cpu_joules=None)
        campaign.pair({"learning_rate": 0.1 * 2**number}, alone, alone.times(1.2, 1, ratio))
    text = first_screen(capsys, tmp_path)
    assert text.startswith("# Energy report: toy/small\n")
    told = "measured by counters, that of CPUs estimated from CPU time"
    assert f"- energy: {told} (\\~)" in text
    assert RIGHT in text
    assert "| ~CPU energy | ~×1.0000 |" in text


def test_a_configuration_without_a_value_that_others_have_is_in_no_effect_and_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = Campaign(tmp_path)
    for number in range(5):
        campaign.run({"dropout": 0.1 * 2**number, "epochs": 2}, Figures(60 + number**2))
    for number in range(3):
        campaign.run({"epochs": 3 + number}, Figures())
    text = first_screen(capsys, tmp_path)
    told = "3 configurations without a value of dropout: in no effect of a hyper-parameter"
    assert f"- refused: {told}" in text
    assert "| doubling dropout | duration | ×" in text


def test_one_seed_bounds_the_metric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    campaign, alone = Campaign(tmp_path), Figures()
    for number in range(4):
        loaded = alone.times(accuracy=-0.1 * number)
        campaign.pair({"learning_rate": 0.1 * 2**number, "seed": 7}, alone, loaded)
    text = first_screen(capsys, tmp_path)
    metric = next(line for line in text.split("\n") if line.startswith("| accuracy |"))
    assert "for seed 7 only" in metric
    loaded, other, *_ = sorted(tmp_path.glob("*.json"))
    changed(loaded, lambda one: one["foreground_result"]["hyperparameters"].update(seed=8))
    changed(other, lambda one: one["hyperparameters"].update(seed=8))
    assert "for seed" not in first_screen(capsys, tmp_path)


def test_runs_of_several_campaigns_have_slopes_as_points(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, session in enumerate(("one", "two")):
        campaign = Campaign(tmp_path, session=session, seed=number, count=10 * number)
        for at in range(4):
            campaign.run({"learning_rate": 0.1 * 2**at}, Figures().times(1.1**at * (1 + at % 2)))
    text = first_screen(capsys, tmp_path)
    assert "runs of 2 campaigns (sessions one, two)" in text
    alone = first_screen(capsys, tmp_path, "--session", "two")
    assert "campaigns" not in alone
    assert "doubling learning_rate | ×" in alone


def test_records_of_an_earlier_version_are_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paired_campaign(tmp_path, FIVE, old=True)
    text = first_screen(capsys, tmp_path)
    assert RIGHT in text
    assert "10 records of an earlier version: which configuration they are was told from" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--metric", "f1"], "no record has a metric 'f1'; there are: accuracy"),
        (["--better", "accuracy=more"], "--better accuracy=more: write NAME=higher"),
        (["--across", "weather"], "--across weather: no such fact; there are: gpu, driver"),
        (["--session", "nobody"], "no record of session nobody; there are records of 2026"),
        (["-o", "x.odt"], "x.odt: no format has this suffix"),
    ],
)
def test_bad_options_are_said_in_a_line(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paired_campaign(tmp_path, [1.2])
    assert main(["report", str(tmp_path), *arguments]) == 4
    assert sentence in capsys.readouterr().err
