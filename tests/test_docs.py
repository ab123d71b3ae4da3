"""What the documentation says is what the code does."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

from conftest import ROOT


def test_the_settings_reference_is_that_of_the_schemas() -> None:
    render = runpy.run_path(str(ROOT / "docs/generate_settings.py"))["render"]
    page = render()
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == page
    assert not [line for line in page.splitlines() if line.endswith("|  |")], "a key says nothing"


def test_the_record_reference_is_that_of_the_schema() -> None:
    render = runpy.run_path(str(ROOT / "docs/generate_record.py"))["render"]
    page = render()
    assert (ROOT / "docs/record.md").read_text(encoding="utf-8") == page
    for key in ("experiment_id", "training_success", "opened_at", "configuration_key", "epochs"):
        assert re.search(rf"^\| `{key}` \|[^|]*\| [^|]+ \|$", page, re.MULTILINE), key


def test_every_option_is_in_the_readme() -> None:
    source = (ROOT / "src/wattest/plugin/options.py").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = re.findall(r'(?:both|addoption)\(\s*"(?:--)?([a-z-]+)', source)
    options = [f"--{name}" for name in names]
    assert len(options) > 10
    assert [option for option in options if option not in readme] == []


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert pages <= {page.stem for page in (tmp_path / "site").glob("*.html")}


def test_links_in_the_documentation_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "repos").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / Path(target)).exists(), (page, target)


def test_the_picture_of_the_house_is_what_the_linter_holds() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    picture = page.split("```")[1].removeprefix("text\n").splitlines()
    drawn = [set(line[14:55].split()) - {"·", "│"} for line in picture]
    contracts = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = re.findall(r'"(wattest\..*)"', contracts.split("layers = [")[1].split("\n]")[0])
    held = [{name.removeprefix("wattest.") for name in layer.split(" : ")} for layer in layers]
    assert [floor for floor in drawn if floor] == held
    rooms = {
        path.stem for path in (ROOT / "src/wattest").iterdir() if not path.name.startswith("__p")
    }
    assert set().union(*held) == rooms - {"__init__", "py"}
