"""`wattest show`: at a glance, when the load ran and why a run was refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.campaigns import Campaign, Figures, bumpy
from wattest.cli import main
from wattest.report.sheet import LoadRun, read_sheet
from wattest.report.sheetfigure import sheet_picture
from wattest.report.sparkline import for_encoding, load_line, power_line
from wattest.report.traces import PowerTrace, power_traces, thinned

DEAD = "the load busy/large was alive for 50 % of the window, less than 90 %"
HOSTILE = "<script>$x_&%\ud800\u202e\x1b[31m\n"


@pytest.fixture
def invalid(tmp_path: Path) -> Path:
    """Return the record of a run whose load died halfway."""
    return Campaign(tmp_path).run(
        {"learning_rate": 0.01}, Figures(60), "parallel", power=bumpy(200, 8),
        load_runs=[(-5, 20, 0), (20.1, 30, 1)], alive_share=0.5, reasons=[DEAD],
        flags=["other CPU load took 14 % of the machine"],
    )  # fmt: skip


def shown(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    assert main(["show", *map(str, arguments)]) == code
    output = capsys.readouterr()
    return output.err if code else output.out


def test_an_invalid_run_says_first_why_it_was_refused(
    invalid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(capsys, invalid).splitlines()
    assert lines[:3] == [invalid.stem, "  INVALID: it does not count", f"    because  {DEAD}"]
    (gate,) = [line for line in lines if "load alive" in line]
    assert re.search(r"✗ load alive +50 % +at least 90 %", gate)


def test_the_line_of_the_load_lies_below_that_of_the_power(
    invalid: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "76")
    told = shown(capsys, invalid)
    power = re.search(r"GPU power +([▁-█]{60})\n", told)
    load = re.search(r"load {8}(\S{60})\n", told)
    assert power
    assert load
    assert load[1] == "█" * 20 + "▓" * 10 + "✗" + "·" * 29
    assert "busy/large, alive for 50 % of the window, 2 runs, 1 ended in failure" in told
    assert max(map(len, told.splitlines())) < 100


def test_what_a_record_does_not_tell_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Campaign(tmp_path, old=True).run({}, Figures(), "parallel")
    told = shown(capsys, path)
    assert "no trace of it lies beside the record" in told
    assert "this record does not tell its single runs" in told
    alone = Campaign(tmp_path, estimated=True).run({}, Figures())
    told = shown(capsys, alone)
    assert "none: this run was alone" in told
    assert "GPU -, CPU ~3 kJ (-: not measured)" in told


def test_energy_over_a_load_is_never_called_the_trainings_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Campaign(tmp_path).run({}, Figures(), "parallel")
    assert "GPU 12 kJ, CPU 3 kJ, load included" in shown(capsys, path)


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png", ".html"])
def test_a_sheet_is_drawn_as_its_name_says_the_same_every_time(invalid: Path, suffix: str) -> None:
    first, second = invalid.with_name("a" + suffix), invalid.with_name("b" + suffix)
    for path in (first, second):
        assert main(["show", str(invalid), "-o", str(path)]) == 0
    assert first.read_bytes() == second.read_bytes()
    start = {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG", ".html": b"<!DOCTYPE html>"}
    assert first.read_bytes().startswith(start[suffix])


def test_a_picture_can_be_read_to_who_does_not_see_it(invalid: Path) -> None:
    path = invalid.with_name("a.svg")
    assert main(["show", str(invalid), "-o", str(path)]) == 0
    drawn = ElementTree.parse(path).getroot()
    title, description = (
        drawn.findtext(f"{{http://www.w3.org/2000/svg}}{name}") or "" for name in ("title", "desc")
    )
    assert invalid.stem in title
    assert DEAD in description
    assert "GPU power from 140 W to 260 W" in description


def test_hostile_names_stay_inert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Campaign(tmp_path, repo=HOSTILE, load={"repo": HOSTILE, "model": "$\\frac{"}).run(
        {HOSTILE: 0.1}, Figures(metrics={HOSTILE: 1.0}), "parallel", power=bumpy(),
        reasons=[HOSTILE],
        change=lambda one: one["background_info"].update(hyperparameters={}),
    )  # fmt: skip
    for suffix in (".svg", ".html", ".pdf"):
        assert main(["show", str(path), "-o", str(tmp_path / f"a{suffix}")]) == 0
    told = shown(capsys, path)
    assert "\ufffd[31m\ufffd/small" in told
    assert not {"\x1b", "\u202e", "\ud800"} & set(told)
    drawn = (tmp_path / "a.svg").read_text(encoding="utf-8")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    ElementTree.fromstring(drawn)
    for text in (drawn, page):
        assert "<script" not in text
        assert "\u202e" not in text
        assert "\x1b" not in text
        assert "&lt;script&gt;" in text


def test_what_cannot_be_shown_is_said_in_one_line(
    invalid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = invalid.with_name("cut.json")
    cut.write_text(invalid.read_text()[:500])
    assert re.fullmatch(r"ERROR: .*cut.json: cannot be read as a record; .*\n",
                        shown(capsys, cut, code=4))  # fmt: skip
    assert "is no file" in shown(capsys, invalid.with_name("none.json"), code=4)
    assert ".html, .pdf, .png, .svg" in shown(capsys, invalid, "-o", "a.gif", code=4)
    folder = invalid.with_name("none") / "a.svg"
    assert "cannot be written: No such file" in shown(capsys, invalid, "-o", folder, code=4)


def test_traces_lie_on_the_clock_of_the_window(invalid: Path) -> None:
    record = json.loads(invalid.read_text())
    told = {trace.domain: trace for trace in power_traces(record, invalid.parent)}
    assert told["GPU"].seconds[0] == pytest.approx(0, abs=1e-3)
    assert told["GPU"].mean_watts == pytest.approx(200, rel=0.03)
    del record["foreground_result"]["energy_provenance"]["window"]["opened_at"]
    again = {trace.domain: trace for trace in power_traces(record, invalid.parent)}
    assert again["GPU"].seconds[5] == pytest.approx(0.5 + 0.4, abs=1e-3)


def test_the_power_of_several_gpus_is_their_sum_where_all_were_read(tmp_path: Path) -> None:
    path = Campaign(tmp_path).run({}, Figures(1), power=bumpy())
    (trace,) = tmp_path.glob("energy_*/gpu_power.csv")
    head = "timestamp,power_draw_w,power_second_w,gpu\n"
    trace.write_text(head + "1.0,50,1,a\n1.0,70,1,b\n1.1,50,1,a\n1.2,N/A,1,a\n1.3,51,1,a\n1.3,70")
    (gpu,) = [one for one in power_traces(json.loads(path.read_text()), tmp_path)
              if one.domain == "GPU"]  # fmt: skip
    assert list(gpu.watts) == [120]


def test_a_record_leads_to_no_file_outside_its_folder(tmp_path: Path) -> None:
    inside = tmp_path / "results"
    path = Campaign(inside).run({}, Figures(2), power=bumpy())
    (folder,) = inside.glob("energy_*")
    folder.rename(tmp_path / "elsewhere")
    record = json.loads(path.read_text())
    record["attempts"][-1]["energy_folder"] = "../elsewhere"
    assert power_traces(record, inside) == []


def test_thinning_keeps_every_peak() -> None:
    watts = [100.0] * 1000
    watts[501], watts[502] = 400.0, 5.0
    trace = PowerTrace("GPU", [number / 10 for number in range(1000)], watts)
    extents = thinned(trace, 50)
    assert len(extents) == 50
    assert max(one.high_watts for one in extents) == 400
    assert min(one.low_watts for one in extents) == 5


def test_a_pause_of_the_samples_is_a_gap_in_the_line() -> None:
    seconds = [*range(10), *range(20, 30)]
    line = power_line(PowerTrace("CPU", seconds, [100.0] * 20), 30, 60)
    assert re.fullmatch(r"█{20,23} {17,20}█{20}", line)


def test_a_load_that_never_ran_in_the_window_is_a_line_of_dots() -> None:
    assert load_line([LoadRun(1, -9, -2, 1)], 10, 5) == "·····"
    assert load_line([LoadRun(1, -9, None, None)], 10, 5) == "█████"


def test_a_terminal_that_knows_only_ascii_is_told_in_ascii() -> None:
    assert for_encoding("▁█ ±3 ✗ ü", "ascii") == "_# +-3 x ?"
    assert for_encoding("▁█ ü", "utf-8") == "▁█ ü"


def test_epochs_are_listed_with_what_they_took(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = {"epoch": 1, "seen_seconds": 3.0, "seconds": 3.0, "cpu_joules": None, "gpu_joules": 600.0,
           "uncertainty_seconds": 0.1, "gpu_uncertainty_joules": 20.0,
           "gpu_watts": 200.0}  # fmt: skip
    rest = {"seconds": 7.5, "gpu_joules": 900.0, "cpu_joules": None, "gpu_watts": 120.0}
    epochs = [{**one, "epoch": number} for number in range(1, 31)]
    epochs[1] = {"epoch": 2, "seen_seconds": None}
    told = {"epochs": epochs, "epochs_rest": rest, "epochs_note": "some lines came in blocks"}
    path = Campaign(tmp_path).run({}, Figures(), power=bumpy(), change=lambda doc: doc.update(told))
    shown_lines = shown(capsys, path)
    lines = [" ".join(line.split()) for line in shown_lines.splitlines()]
    assert "epochs epoch seen at took GPU GPU mean" in lines
    assert "1 3 s 3 s ±0.1 s 600 J ±20 J 200 W" in lines
    assert "2 - - - -" in lines
    assert "rest - 7.5 s 900 J 120 W" in lines
    assert "… 19 more …" in shown_lines
    assert "some lines came in blocks" in shown_lines
    for suffix in (".svg", ".html"):
        assert main(["show", str(path), "-o", str(tmp_path / f"a{suffix}")]) == 0
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.count("600 J ±20 J") == 29


def test_a_run_that_a_signal_ended_has_failed() -> None:
    assert load_line([LoadRun(1, 0, 4, None, 9)], 10, 5) == "██✗··"


def test_each_of_several_loads_is_drawn_and_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [{"number": 1, "started_seconds": 30.0, "ended_seconds": 60.0, "exit_code": 1}]
    window = {"alive_share": 0.2, "runs": runs}
    further = [{"repo": "lazy", "model": "tiny", "window": window}, {"repo": "a", "model": "b"}]
    path = Campaign(tmp_path).run(
        {}, Figures(), "parallel", load_runs=[(0, None, None)],
        change=lambda one: one.update(further_backgrounds=further),
    )  # fmt: skip
    told = shown(capsys, path)
    assert re.search(r"load 1 +(█+)\n +load 2 +(·+)█+✗\n", told)
    assert "busy/large, alive for 100 % of the window, 1 run\n" in told
    assert "lazy/tiny, alive for 20 % of the window, 1 run, 1 ended in failure\n" in told
    assert "a/b, not known to have been alive in the window; this record does not tell" in told
    assert re.search(r"✓ busy/large alive +100 %", told)
    assert re.search(r"✗ lazy/tiny alive +20 %", told)
    bars = sheet_picture(read_sheet(path)).figure.axes[0].collections
    first, second = (bar.get_paths()[0].get_extents() for bar in bars)
    assert first.ymin > second.ymax
