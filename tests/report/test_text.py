"""Every campaign has a report in every form of text, also one of which little can be said."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.campaigns import Campaign, Figures, paired_campaign
from wattest.cli import main

HOSTILE = "<script>|_*`[x](y)\u202e"


def _two_loads(folder: Path) -> None:
    campaign = Campaign(folder)
    campaign.pair({"lr": 0.1}, Figures(), Figures().times(gpu=2))
    campaign.load = {**campaign.load, "model": "other"}
    campaign.pair({"lr": 0.1}, Figures(), Figures().times(gpu=3))


def _load_alone(folder: Path) -> None:
    campaign = paired_campaign(folder, [1.1, 1.2])
    told = {**campaign.load, "note": "alone", "hyperparameters": {"epochs": 2}}
    campaign.run({}, Figures(metrics={}), "load", change=lambda one: one.update(
        repository="busy", model="large", mode="load", background_info=told))  # fmt: skip


SCENES: dict[str, tuple[Callable[[Path], object], str]] = {
    "all invalid": (lambda it: Campaign(it).run({"lr": 0.1}, Figures(), reasons=["no metric"]),
                    "0 of 1 count"),
    "one run": (lambda it: Campaign(it).run({}, Figures()), "Nothing ran under a load."),
    "no metric": (lambda it: Campaign(it).run({"lr": 0.1}, Figures(metrics={"a": None})),
                  "1 of 1 count"),
    "no energy": (lambda it: Campaign(it).run({"lr": 0.1}, Figures(60, None, None)),
                  "toy/small (no energy is known)"),
    "tiny amounts": (lambda it: paired_campaign(it, [1.1, 1.2, 1.3], Figures(1e-9, 1e-9, 1e-9)),
                     "×1.1972"),
    "two loads": (_two_loads, "### toy/small under load of busy/other (epochs=2)"),
    "a load alone": (_load_alone, "_toy_small | load | "),
    "hostile": (lambda it: paired_campaign(it, [1.1], Figures(metrics={HOSTILE: 1.0})),
                "\\<script>\\|\\_\\*\\`[x]\\(y)\ufffd"),
}  # fmt: skip


@pytest.mark.parametrize("scene", SCENES)
def test_every_campaign_has_a_report_in_every_form(
    scene: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, sentence = SCENES[scene]
    make(tmp_path)
    found = {}
    for form in ("markdown", "latex", "csv", "json"):
        assert main(["report", str(tmp_path), "--format", form, "--p-values"]) == 0
        found[form] = capsys.readouterr().out
    assert sentence in found["markdown"]
    assert found["latex"].endswith("\\end{document}\n")
    document = json.loads(found["json"])
    assert len(document["runs"]) == len(list(tmp_path.glob("*.json")))
    rows = list(csv.DictReader(io.StringIO(found["csv"])))
    estimates = [row["estimate"] for study in document["studies"] for row in study["load_rows"]]
    told = [row["value"] for row in rows if row["question"] == "load"]
    assert [float(value) for value in told] == [one["value"] for one in estimates]


def test_the_suffix_of_the_output_chooses_the_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paired_campaign(tmp_path / "results", [1.2])
    for name, beginning in (("a.md", "# "), ("a.tex", "\\document"), ("a.csv", "program,")):
        output = tmp_path / name
        assert main(["report", str(tmp_path / "results"), "-o", str(output)]) == 0
        assert output.read_text().startswith(beginning)
        assert capsys.readouterr().out == f"{output}: 2 of 2 runs count\n"


def test_without_the_extra_a_page_says_how_to_install_it_and_text_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paired_campaign(tmp_path, [1.2])
    for name in ("matplotlib", "matplotlib.figure", "jinja2"):
        monkeypatch.setitem(sys.modules, name, None)
    output = tmp_path / "page.html"
    assert main(["report", str(tmp_path), "-o", str(output)]) == 4
    assert "pip install 'wattest[report]'" in capsys.readouterr().err
    assert not output.exists()
    assert main(["report", str(tmp_path), "--format", "markdown"]) == 0
