"""The page in a real browser: nothing refused, nothing too wide, no text over text; on paper."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.campaigns import Figures, bumpy, paired_campaign
from wattest.cli import main
from wattest.report.answers import answer
from wattest.report.reading import read_runs
from wattest.report.reportpage import report_page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
WIDTHS = (1200, 400)

# Frames of one origin, so that the page around them can measure what is in them.
GAUGE = """<!DOCTYPE html><meta charset="utf-8"><body>{frames}<pre id="found"></pre><script>
function rectangles(page) {{
  const found = [], walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walker.nextNode();) {{
    const around = node.parentElement;
    if (!node.data.trim() || around.closest("title, desc, details, style")) continue;
    const range = page.createRange();
    range.selectNodeContents(node);
    const boxes = around.closest("svg") ? [around.getBoundingClientRect()] : range.getClientRects();
    for (const box of boxes) if (box.width) found.push([node.data.trim(), box, node]);
  }}
  return found;
}}
function overlaps(all) {{
  const found = [];
  all.sort((one, two) => one[1].top - two[1].top);
  all.forEach((one, index) => {{
    for (const two of all.slice(index + 1)) {{
      if (two[1].top > one[1].bottom - one[1].height / 3) break;
      const wide = Math.min(one[1].right, two[1].right) - Math.max(one[1].left, two[1].left);
      if (one[2] !== two[2] && wide > 2) found.push([one[0], two[0]]);
    }}
  }});
  return found;
}}
addEventListener("load", () => {{
  const told = [...document.querySelectorAll("iframe")].map(frame => {{
    const page = frame.contentDocument, all = rectangles(page);
    return {{
      wide: page.documentElement.scrollWidth, texts: all.length, overlaps: overlaps(all),
      outside: all.filter(one => one[1].right > frame.clientWidth + 1 || one[1].left < -1)
        .map(one => one[0]),
      styled: frame.contentWindow.getComputedStyle(page.querySelector("main")).maxWidth,
    }};
  }});
  document.querySelector("#found").textContent = JSON.stringify(told);
}});
</script>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the page of a campaign, and the sheet of one of its runs."""
    if BROWSER is None:
        pytest.skip("no Chromium is installed here, which would lay out the page")
    folder = tmp_path_factory.mktemp("results")
    campaign = paired_campaign(folder, [1.2, 1.25, 1.3, 1.35, 1.4])
    invalid = campaign.run(
        {"learning_rate_of_a_very_long_name_that_nobody_can_break": 0.123456789}, Figures(),
        "parallel", power=bumpy(), load_runs=[(-1, 20, 0), (20.1, 30, 1)],
        reasons=["the load busy/large was alive for 50 % of the window"],
        flags=["other CPU load took 14 % of the machine"],
    )  # fmt: skip
    sheet = folder / "sheet.html"
    assert main(["show", str(invalid), "-o", str(sheet)]) == 0
    page = report_page(answer(read_runs([folder])))
    return [page, sheet.read_text(encoding="utf-8")]


def browse(folder: Path, *arguments: str) -> tuple[str, str]:
    """Return what a browser without a network says on its output, and of what it complains."""
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}",
         "--no-first-run", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout, done.stderr


def test_the_page_is_laid_out_at_every_width(tmp_path: Path, pages: list[str]) -> None:
    frames = "".join(
        f'<iframe width="{width}" height="3000" frameborder="0" srcdoc="{html.escape(page)}">'
        "</iframe>"
        for page in pages
        for width in WIDTHS
    )
    gauge = tmp_path / "gauge.html"
    gauge.write_text(GAUGE.format(frames=frames), encoding="utf-8")
    output, complaints = browse(tmp_path, "--dump-dom", gauge.as_uri())
    told = re.search(r'<pre id="found">(.*?)</pre>', output, flags=re.DOTALL)
    assert told, complaints
    found: list[dict[str, Any]] = json.loads(html.unescape(told[1]))
    assert len(found) == len(pages) * len(WIDTHS)
    for one, width in zip(found, WIDTHS * len(pages), strict=True):
        assert one["texts"] > 20
        assert one["wide"] <= width
        assert one["outside"] == []
        assert one["overlaps"] == []
        assert one["styled"].endswith("px"), "the policy let the page's own stylesheet in"
    assert not re.search("Refused to|violates the following", complaints)


def test_the_page_is_printed_whole(tmp_path: Path, pages: list[str]) -> None:
    page, paper = tmp_path / "page.html", tmp_path / "page.pdf"
    page.write_text(pages[0], encoding="utf-8")
    _, complaints = browse(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={paper}",
                           page.as_uri())  # fmt: skip
    assert paper.read_bytes().startswith(b"%PDF"), complaints
    assert not re.search("Refused to|violates the following", complaints)
