"""The page of a report: one file, no script, nothing from elsewhere, the same bytes every time."""

from __future__ import annotations

import html
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.campaigns import Campaign, Figures, bumpy, paired_campaign, repeated_pairs
from wattest.cli import main
from wattest.report.answers import answer
from wattest.report.drawing import inline_svg, readable
from wattest.report.page import _templates
from wattest.report.reading import read_runs
from wattest.report.reportpage import report_page, report_pictures
from wattest.report.tables import json_text

HOSTILE = "<script>alert(1)</script> \"' $x_&%\u202e\x1b"
RATIOS = [1.20, 1.25, 1.30, 1.35, 1.40]
VOID = {"meta", "br", "link", "img", "wbr"}


class Elements(HTMLParser):
    """Every element of a page, in order; a tag that closes another is a fault."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def page_of(folder: Path) -> str:
    return report_page(answer(read_runs([folder])))


def text_of(page: str) -> str:
    """Return what a page says, without what pictures say to those who do not see them."""
    body = re.sub(r"<(style|title|desc)>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", body))


def first_screen(page: str) -> str:
    return text_of(page.split("<h2>Energy against")[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a campaign of five pairs, one invalid run, and traces of two runs."""
    folder = tmp_path_factory.mktemp("results")
    campaign = paired_campaign(folder, RATIOS)
    campaign.run(
        {"learning_rate": 9.0}, Figures(), "parallel", power=bumpy(), load_runs=[(0, 10, 1)],
        reasons=["the load died"], flags=["it was hot"],
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return page_of(folder)


def test_the_first_screen_answers_the_four_questions(page: str) -> None:
    told = first_screen(page)
    assert "10 of 11 count" in told
    assert re.search(r"GPU energy 29\.8 % higher 95 %: 20\.3 % to 40 % higher; n = 5 pairs", told)
    assert "×1.2981 [1.2035, 1.4001]" in told
    assert "doubling learning_rate" in told
    assert re.search(r"invalid: \S+_parallel \(the load died\)", told)
    order = [told.index(one) for one in ("What did the load cost?",
             "What does each hyper-parameter cost", "Can it be believed?")]  # fmt: skip
    assert order == sorted(order)


def test_energy_under_a_load_is_said_to_be_of_both(page: str) -> None:
    assert "Energies with the load are those of both trainings together" in first_screen(page)
    whose = text_of(page).split("Whose energy?")[1]
    assert "Energy of a run under a load is that of both trainings together" in whose


def test_the_page_needs_nothing_and_runs_nothing(page: str) -> None:
    elements = Elements(page).found
    tags = {tag for tag, _ in elements}
    assert not tags & {"script", "link", "iframe", "img", "object", "base", "form"}
    for _, attributes in elements:
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    (policy,) = [told["content"] for tag, told in elements
                 if told.get("http-equiv") == "Content-Security-Policy"]  # fmt: skip
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(r"url\((?!#)|@import", page)


def test_the_numbers_stand_in_the_page_with_all_digits(folder: Path, page: str) -> None:
    (text,) = re.findall(r"<pre>(.*?)</pre>", page)
    answers = answer(read_runs([folder]))
    assert json.loads(html.unescape(text)) == json.loads(json_text(answers))


def test_an_id_stands_once_and_leads_somewhere(page: str) -> None:
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', page)) <= set(ids)


def test_every_picture_says_what_it_shows(page: str) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(pictures) >= 6
    for picture in pictures:
        assert re.search(r"<title>[^<]+</title><desc>[^<]+</desc>", picture)


def test_the_mode_is_told_by_shape_as_well_as_by_colour(folder: Path) -> None:
    fronts = [one for one in report_pictures(answer(read_runs([folder]))) if "front" in one.name]
    shapes = {inline_svg(one).count("currentColor") > 0 and _marker(inline_svg(one))
              for one in fronts}  # fmt: skip
    assert len(shapes) == len(fronts) == 2


def _marker(picture: str) -> str:
    """Return the outline of the coloured marks of a picture."""
    outline = r'<path id="[^"]+" d="([^"]+)" stroke="#(?:d9731a|2f7fd0)"'
    (found,) = set(re.findall(outline, picture))
    return found


def test_the_same_records_give_the_same_bytes(folder: Path, page: str) -> None:
    assert page_of(folder) == page
    first, second = (
        [inline_svg(one) for one in report_pictures(answer(read_runs([folder])))] for _ in range(2)
    )
    assert first == second


def test_hostile_names_stay_inert(tmp_path: Path) -> None:
    metrics = Figures(metrics={HOSTILE: 1.0})
    campaign = Campaign(tmp_path, repo=HOSTILE, model=HOSTILE, load={"repo": HOSTILE,
                        "model": HOSTILE, "hyperparameters": {}})  # fmt: skip
    for number, ratio in enumerate(RATIOS, 1):
        campaign.pair({HOSTILE: float(number)}, metrics, metrics.times(ratio, ratio, ratio))
    campaign.run({HOSTILE: 1}, metrics, reasons=[HOSTILE], flags=[HOSTILE])
    page = page_of(tmp_path)
    assert "script" not in {tag for tag, _ in Elements(page).found}
    assert "&lt;script&gt;alert(1)" in page
    assert not {"\u202e", "\x1b"} & set(page)
    page.encode("utf-8")
    for picture in report_pictures(answer(read_runs([tmp_path]))):
        drawn = inline_svg(picture)
        ElementTree.fromstring(drawn)
        assert "<script" not in drawn


def test_an_estimate_has_its_tilde_everywhere(tmp_path: Path) -> None:
    paired_campaign(tmp_path, RATIOS, estimated=True)
    page = page_of(tmp_path)
    told = text_of(page)
    assert "estimated" in told.split("What did the load cost?")[0]
    assert "No energy was measured here" in told
    first = first_screen(page)
    assert re.search(r"~CPU energy ~7\.49 % higher", first)
    assert "~×1.0749" in first
    assert not re.search(r"(?<!~)×1\.0749", first)
    assert re.findall(r"(?<![~\w.])\d[\d.]* k?J\b", told) == []


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2"])
def test_without_the_extra_one_line_says_how_to_install_it(
    folder: Path, missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    _templates.cache_clear()
    target = folder.parent / "none.html"
    assert main(["report", str(folder), "-o", str(target)]) == 4
    assert re.fullmatch(rf"ERROR: .*{missing}: pip install 'wattest\[report\]'\n",
                        capsys.readouterr().err)  # fmt: skip
    assert not target.exists()
    for form in ("markdown", "latex", "csv", "json"):
        assert main(["report", str(folder), "--format", form]) == 0
        assert capsys.readouterr().out


def test_two_pairs_are_a_value_without_an_interval(tmp_path: Path) -> None:
    paired_campaign(tmp_path, [1.2, 1.3])
    told = first_screen(page_of(tmp_path))
    assert "×1.2490" in told
    assert "2 pairs: an interval needs 3" in told


def test_nine_hundred_records_are_a_page_of_less_than_three_megabytes(tmp_path: Path) -> None:
    repeated_pairs(tmp_path, 150, 3)
    page = page_of(tmp_path)
    assert len(page.encode()) < 3_000_000
    assert page.count('data-label="verdict">') == 900
    assert "n = 150 configurations" in first_screen(page)


def test_a_name_becomes_one_line_of_bounded_width() -> None:
    assert readable("a\nb\u202ec") == "a\ufffdb\ufffdc"
    assert readable("abcdefgh", 5) == "abcd…"
    assert readable("学习率学习率", 5) == "学…"
    assert readable("short", 5) == "short"


def test_of_many_figures_the_first_are_drawn_and_the_others_counted(tmp_path: Path) -> None:
    for number in range(3):
        campaign = Campaign(tmp_path, repo=f"toy{number}", count=10 * number)
        for rate in (0.1, 0.2):
            campaign.pair({"learning_rate": rate}, Figures(), Figures().times(1.1, 1.2, 1 + rate))
    answers = answer(read_runs([tmp_path]))
    page = report_page(answers)
    told = re.search(r"(\d+) more figures are not shown; --figures leaves each", page)
    assert told
    assert page.count("<figure>") + int(told[1]) == len(list(report_pictures(answers)))


def test_marks_that_look_alike_say_so_once(page: str) -> None:
    marks = re.findall(r"<use [^>]*>", page)
    assert len([mark for mark in marks if "fill" not in mark]) > 20
    assert not re.search(r"<(?:use|path) [^>]*\.\d{3}", page)


def test_many_invalid_runs_leave_room_for_the_power_of_some_that_count(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    for rate in (0.1, 0.2, 0.4):
        campaign.run({"learning_rate": rate}, Figures(gpu_joules=1e4 * rate), power=bumpy())
    for _ in range(12):
        campaign.run({}, Figures(), power=bumpy(), reasons=["exit code 3"])
    page = page_of(tmp_path)
    titles = re.findall(r"<title>Run (\S+): (\w+)", page)
    assert [verdict for _, verdict in titles] == ["INVALID"] * 4 + ["valid"] * 2 + ["INVALID"] * 2
    assert "6 more are not shown; wattest show draws each" in page
