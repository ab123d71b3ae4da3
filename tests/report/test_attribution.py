"""Whose energy: known campaigns, as records on disk, have known answers; the rest is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.campaigns import Campaign, Figures
from wattest.cli import main
from wattest.config.schema import schema_faults

Document = dict[str, Any]
Change = Callable[[Document], object]
GPU = "GPU-00000000-0000-0000-0000-000000000001"


@dataclass(frozen=True)
class Block:
    """One block: watts and seconds of each arm, and the load's work in epochs."""

    idle_watts: float | None = 72.0
    alone: tuple[float, float] = (352.0, 600.0)
    load: tuple[float, float] = (352.0, 1200.0)
    together: tuple[float, float] = (352.0, 1200.0)
    work_together: float | None = 60.0
    work_alone: float | None = 120.0
    half_share: float = 0.5
    arms: Sequence[str] = ("parallel", "alone", "load")
    changes: Mapping[str, Change] = field(default_factory=dict)


def leave(folder: Path, blocks: Sequence[Block]) -> None:
    """Leave the records of a campaign of one mutant; the CPU is not measured."""
    campaign = Campaign(folder, repetitions=len(blocks))
    for number, block in enumerate(blocks, start=1):
        for arm in ("parallel", "alone", "load"):
            watts, seconds = getattr(block, {"parallel": "together"}.get(arm, arm))
            path = campaign.run(
                {"epochs": 3},
                Figures(seconds, None, watts * seconds, {"accuracy": 90.0}),
                arm,
                repetition=number,
                paired=arm != "load",
                change=_change(block, arm, number),
            )
            if arm not in block.arms:
                path.unlink()
            else:
                assert schema_faults(json.loads(path.read_text()), "result", path.name) == []


def _change(block: Block, arm: str, number: int) -> Change:
    def change(document: Document) -> None:
        if block.idle_watts is not None:
            watts = {GPU: block.idle_watts}
            document["environment"]["idle"] = {"watts": watts, "cuda_context": False}
        work = block.work_together if arm == "parallel" else block.work_alone
        if arm == "load":
            _as_load(document, block, number)
        if arm != "alone" and work is not None:
            document["background_info"]["window"]["work"] = {"unit": "epochs", "amount": work}
        block.changes.get(arm, lambda _: None)(document)

    return change


def _as_load(document: Document, block: Block, number: int) -> None:
    watts, seconds = block.load
    document |= {"mode": "load", "repository": "busy", "model": "large"}
    document["hyperparameters"] = {"epochs": 2}
    document["performance_metrics"] = {}
    document["energy_metrics"]["attribution"] = "load"
    document["plan"]["partner"] = f"toy-small-parallel-{number}"
    document["plan"]["mutated"] = []
    document["background_info"] = {
        "repo": "busy", "model": "large", "hyperparameters": {"epochs": 2}, "note": "alone",
        "window": {"alive_share": 1.0},
    }  # fmt: skip
    document["load_alone"] = {
        "seconds": seconds,
        "reason": "as long as its partner took",
        "half_seconds": seconds / 2,
        "half_cpu_joules": None,
        "half_gpu_joules": watts * seconds * block.half_share,
    }


def attributed(
    folder: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> dict[str, dict[str, Any]]:
    """Return the estimate of each row of the only attribution."""
    assert main(["attribute", str(folder), "--format", "json", *words]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    return {row["key"]: row["estimate"] for row in one["rows"]}


def values(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    return {key: one["value"] for key, one in rows.items()}


EXAMPLE = {
    "combined": 422_400.0,
    "alone": 211_200.0,
    "extra_same_time": 0.0,
    "extra_same_work": 211_200.0,
    "shapley": 168_000.0,
    "shapley_load": 168_000.0,
    "idle": 86_400.0,
}


def test_the_worked_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave(tmp_path, [Block()])
    found = values(attributed(tmp_path, capsys))
    assert found == pytest.approx(EXAMPLE)
    assert found["shapley"] + found["shapley_load"] + found["idle"] == found["combined"]


def test_another_example_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Power under load is more than alone, and the load did three quarters of its work.

    E_A = 300·800 = 240 kJ, E_AB = 400·900 = 360 kJ, P_0 = 50 W, P_B = 250 W, τ = 450 s:
    same time 360 - 225 = 135, same work 360 - 112.5 = 247.5, and
    Shapley ½[(240 - 40) + (247.5 - 50·450/1000 = 225)] = 212.5 kJ.
    """
    block = Block(50.0, (300.0, 800.0), (250.0, 500.0), (400.0, 900.0), 90.0, 100.0)
    leave(tmp_path, [block])
    found = values(attributed(tmp_path, capsys))
    assert found["extra_same_time"] == pytest.approx(135_000)
    assert found["extra_same_work"] == pytest.approx(247_500)
    assert found["shapley"] == pytest.approx(212_500)
    assert found["shapley"] + found["shapley_load"] + found["idle"] == pytest.approx(360_000)


def test_an_interval_is_over_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Student t on 420, 422.4, 424.8 kJ: the mean ± 4.30265 · 2.4/√3 = 5.962 kJ."""
    leave(tmp_path, [Block(together=(watts, 1200.0)) for watts in (350.0, 352.0, 354.0)])
    rows = attributed(tmp_path, capsys)
    combined = rows["combined"]
    assert (combined["value"], combined["n"]) == (pytest.approx(422_400), 3)
    assert combined["low"] == pytest.approx(422_400 - 5_962, abs=2)
    assert combined["high"] == pytest.approx(422_400 + 5_962, abs=2)
    assert rows["alone"]["reason"] == "all 3 values are equal: no interval"


def _throttle(document: Document) -> None:
    result = document.get("foreground_result", document)
    gpu = result["energy_provenance"]["domains"]["gpu"]
    gpu["gpus"][0]["throttled_seconds"]["power_cap"] = 12.5


def _several(document: Document) -> None:
    document["further_backgrounds"] = [document["background_info"]]


def _context(document: Document) -> None:
    document["environment"]["idle"]["cuda_context"] = True


def _driver(document: Document) -> None:
    document["environment"]["gpus"]["driver_version"] = "590.10"


def _long_run(document: Document) -> None:
    run = {"number": 1, "started_seconds": -400.0, "ended_seconds": 1000.0, "exit_code": 0}
    document["background_info"]["window"]["runs"] = [run]


def _mig(document: Document) -> None:
    document["environment"]["gpus"]["gpus"][0]["mig_mode"] = True


def _mps(document: Document) -> None:
    document["environment"].setdefault("variables", {})["CUDA_MPS_PIPE_DIRECTORY"] = "/tmp/mps"


NEEDS_LOAD = ("extra_same_time", "extra_same_work", "shapley", "shapley_load")
NEEDS_WORK = ("extra_same_work", "shapley", "shapley_load")
SHARES = ("shapley", "shapley_load")
NEEDS_IDLE = (*SHARES, "idle")
REFUSALS = {
    "short": (Block(load=(352.0, 59.0)), NEEDS_LOAD, "measured alone for 59.0 s; at least 60 s"),
    "one run": (Block(changes={"load": _long_run}), NEEDS_LOAD, "less than one of its runs"),
    "unsteady": (Block(half_share=0.52), NEEDS_LOAD, "was not steady: 366.1 W"),
    "no load": (Block(arms=("parallel", "alone")), NEEDS_LOAD, "the load was not measured alone"),
    "no alone": (Block(arms=("parallel", "load")), ("alone", *SHARES), "did not run alone"),
    "no work": (Block(work_together=None), NEEDS_WORK, "needs a progress pattern"),
    "idle load": (Block(work_alone=0.0), NEEDS_WORK, "did no work"),
    "no idle": (Block(idle_watts=None), NEEDS_IDLE, "set idle_baseline_seconds"),
    "context": (Block(changes={"parallel": _context}), NEEDS_IDLE, "with a CUDA context open"),
    "power cap": (Block(changes={"parallel": _throttle}), SHARES, "the power cap held a GPU back"),
    "several": (Block(changes={"parallel": _several}), SHARES, "several loads ran at once"),
    "MPS": (Block(changes={"parallel": _mps}), SHARES, "MPS shares the GPU"),
    "MIG": (Block(changes={"parallel": _mig}), SHARES, "MIG divides a GPU"),
    "driver": (Block(changes={"load": _driver}), tuple(EXAMPLE), "driver differs: "),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_said_is_refused_with_its_reason(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    block, refused, said = REFUSALS[case]
    leave(tmp_path, [block] * 3)
    rows = attributed(tmp_path, capsys)
    assert {key for key, one in rows.items() if one["value"] is None} == set(refused)
    for key in refused:
        assert said in rows[key]["reason"], rows[key]


def test_a_wide_interval_is_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave(tmp_path, [Block(together=(watts, 1200.0)) for watts in (352.0, 452.0, 252.0)])
    rows = attributed(tmp_path, capsys)
    assert rows["combined"]["value"] is None
    assert "is more than half of" in rows["combined"]["reason"]


def test_a_block_that_cannot_serve_is_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(tmp_path, [Block(), Block(), replace(Block(), work_together=None)])
    rows = attributed(tmp_path, capsys)
    assert rows["extra_same_work"]["n"] == 2
    assert rows["extra_same_work"]["note"].startswith("1 of 3 blocks left out: the load's work")


def test_sessions_of_one_plan_lend_each_other_only_what_they_lack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A campaign that ran twice has two blocks; one that was resumed has one."""
    leave(tmp_path / "one", [Block()])
    leave(tmp_path / "two", [Block(alone=(352.0, 500.0), together=(352.0, 1000.0))])
    for path in (tmp_path / "two").glob("*.json"):
        document = json.loads(path.read_text())
        document["plan"]["session_id"] = "later"
        path.write_text(json.dumps(document | {"timestamp": "2026-11-02T10:00:00.000000"}))
    rows = attributed(tmp_path, capsys)
    assert rows["alone"]["n"] == 2
    assert rows["alone"]["value"] == pytest.approx((211_200 + 176_000) / 2)
    for path in (tmp_path / "two").glob("*_parallel.json"):
        path.unlink()
    for path in (tmp_path / "one").glob("*.json"):
        if not path.stem.endswith("_parallel"):
            path.unlink()
    rows = attributed(tmp_path, capsys)
    assert (rows["alone"]["n"], rows["alone"]["value"]) == (1, 176_000)


def test_the_form_of_an_attribution_is_that_of_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(tmp_path / "results", [Block()])
    for suffix, start in ((".json", "["), (".tex", "\\documentclass"), (".md", "# Whose energy")):
        file = tmp_path / f"whose{suffix}"
        assert main(["attribute", str(tmp_path / "results"), "-o", str(file)]) == 0
        assert file.read_text().startswith(start)
    assert main(["attribute", str(tmp_path / "results"), "-o", "whose.csv"]) == 4
    assert "no format has this suffix (.md, .markdown, .tex, .json)" in capsys.readouterr().err


def test_a_block_whose_energy_was_not_measured_is_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(tmp_path, [Block(), Block(together=(353.0, 1200.0)), Block()])
    path = max(tmp_path.glob("*_parallel.json"))
    document = json.loads(path.read_text())
    document["foreground_result"]["energy_metrics"]["gpu_energy_total_joules"] = None
    path.write_text(json.dumps(document))
    rows = attributed(tmp_path, capsys)
    assert (rows["combined"]["n"], rows["combined"]["value"]) == (2, pytest.approx(423_000))
    told = "1 of 3 blocks left out: parallel: its GPU energy was not measured"
    assert rows["combined"]["note"] == told


def test_the_model_by_cpu_time_is_given_only_when_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def with_cpu(document: Document) -> None:
        document["environment"]["idle"] = {"watts": {GPU: 72.0, "package-0": 10.0}}

    campaign = Campaign(tmp_path)
    figures = Figures(100.0, 4000.0, None, {"accuracy": 90.0})
    campaign.pair({"epochs": 3}, figures, figures, change=with_cpu)
    assert "cpu_time_share" not in attributed(tmp_path, capsys)
    rows = attributed(tmp_path, capsys, "--model", "cpu-time")
    # 100 s of the training, 50 s of the load: two thirds of what is above idle.
    assert rows["cpu_time_share"]["value"] == pytest.approx(2 / 3 * (4000 - 10 * 100))


def test_the_report_answers_whose_energy_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(tmp_path, [Block()] * 3)
    assert main(["report", str(tmp_path), "--format", "markdown"]) == 0
    text = capsys.readouterr().out
    assert "9 of 9 count" in text
    assert "| Shapley share of the training, above idle | 168 kJ | 3 blocks |" in text
    assert "busy/large, " not in text.split("## Whose energy?")[0], "the load is no study"
    page = tmp_path / "report.html"
    assert main(["report", str(tmp_path), "-o", str(page)]) == 0
    assert "extra for the same work of the load" in page.read_text(encoding="utf-8")


def test_without_further_arms_it_says_what_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(tmp_path, [Block(arms=("parallel",))] * 3)
    assert main(["attribute", str(tmp_path)]) == 0
    assert '"baseline": "both"' in capsys.readouterr().out
