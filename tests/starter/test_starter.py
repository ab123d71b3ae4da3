"""`wattest init`: a project from nothing, and from an installed wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from conftest import ROOT
from wattest.cli import main
from wattest.config.schema import schema_faults


def test_a_project_is_made_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mit Lücke"
    assert main(["init", str(folder)]) == 0
    named = capsys.readouterr().out.split("\n\nNext: ")[0].splitlines()
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert sorted(named) == sorted(map(str, found))
    assert {"conftest.py", "pytest.ini", ".gitignore", "experiments/test_training.py"} <= set(named)
    for file in [*folder.glob("settings/*.json"), folder / "config/models_config.json"]:
        document = json.loads(file.read_text(encoding="utf-8"))
        schema = (file.parent / document["$schema"]).resolve()
        assert schema.is_relative_to(folder)
        assert schema_faults(document, schema.name.partition(".")[0], file.name) == []


def test_the_settings_of_a_new_project_have_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["init", str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    for settings in sorted(Path("settings").glob("*.json")):
        assert main(["plan", str(settings)]) == 0
        assert "warning" not in capsys.readouterr().err


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "pytest.ini"
    own.write_text("mine")
    assert main(["init", str(tmp_path)]) == 4
    assert capsys.readouterr().err == f"ERROR: {own}: is there already; name a new folder\n"
    assert [path.name for path in tmp_path.iterdir()] == ["pytest.ini"]
    assert own.read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file" / "project")]) == 4
    assert capsys.readouterr().err == f"ERROR: {tmp_path / 'file'} is no folder\n"


def test_a_folder_in_which_something_stands_in_the_way_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").symlink_to(tmp_path / "gone")
    assert main(["init", str(tmp_path)]) == 4
    told = capsys.readouterr().err
    assert told.startswith(f"ERROR: {tmp_path / 'config'} points to {tmp_path / 'gone'}")
    assert [path.name for path in tmp_path.iterdir()] == ["config"]


def test_a_wheel_makes_a_project_that_runs(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: str | Path, folder: Path = tmp_path) -> str:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, timeout=100,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    run(*build, folder=ROOT)
    wheel = next(tmp_path.glob("*.whl"))
    # An environment with what wattest depends on, and nothing of this checkout.
    python = tmp_path / "Umgebung é" / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", python.parents[1])
    packages = python.parents[1] / "lib" / f"python{sysconfig.get_python_version()}/site-packages"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps",
        "--no-index", "--no-compile", wheel)  # fmt: skip
    depends = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "depends.pth").write_text("\n".join(depends))
    assert str(packages) in run(python, "-c", "import wattest; print(wattest.__file__)")
    run(python, "-m", "wattest", "init", "été à Köln")
    project = tmp_path / "été à Köln"
    settings = project / "settings" / "default.json"
    settings.write_text(settings.read_text(encoding="utf-8").replace(": 30", ": 2"))
    shown = run(python, "-m", "pytest", "experiments", folder=project)
    assert "3 passed" in shown
    assert len(list(project.glob("results/2*.json"))) == 3
