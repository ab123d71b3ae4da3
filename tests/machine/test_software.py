"""The versions in a record are those of the interpreter that trained, or are not known."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from conftest import TOY, Project
from wattest.machine import software


def interpreter(folder: Path, body: str) -> Path:
    """Write a program that stands for another Python."""
    folder.mkdir(exist_ok=True)
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{body}\n")
    python.chmod(0o755)
    return python


def test_another_interpreter_is_asked_and_reads_nothing_of_the_folder(tmp_path: Path) -> None:
    packages = tmp_path / "site"
    (packages / "torch-9.9.dist-info").mkdir(parents=True)
    (packages / "torch-9.9.dist-info/METADATA").write_text("Name: torch\nVersion: 9.9\n")
    python = interpreter(tmp_path, f'exec "{sys.executable}" "$@"')
    told = software.versions_of(python, {**os.environ, "PYTHONPATH": str(packages)})
    assert told["torch"] == "9.9"
    assert told["python"] == software.own_versions()["python"]
    assert told.keys() == software.own_versions().keys()


@pytest.mark.parametrize("body", ["exit 3", "echo no JSON", "echo '[1]'", "echo '{\"torch\": 1}'"])
def test_what_an_interpreter_does_not_tell_is_not_known(tmp_path: Path, body: str) -> None:
    assert set(software.versions_of(interpreter(tmp_path, body), {}).values()) == {None}
    assert set(software.versions_of(tmp_path / "none", {}).values()) == {None}


def test_an_interpreter_that_does_not_end_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(software, "_LIMIT_SECONDS", 0.2)
    began = time.monotonic()
    told = software.versions_of(interpreter(tmp_path, "sleep 60 & exec sleep 60"), os.environ)
    assert time.monotonic() - began < 10
    assert told["python"] is None


def test_a_record_tells_what_trained_and_what_measured(project: Project) -> None:
    versions = json.dumps({"python": "2.7.18", "torch": "0.4"})
    interpreter(project.path / "repos/toy/other", f"echo '{versions}'")
    project.describe("toy", interpreter="other/python")
    project.program("toy", "#!/bin/sh\necho Accuracy: 1\n")
    project.settings(TOY)
    assert project.run_here().ret == 0
    environment = project.records()[0]["environment"]
    assert environment["software"]["python"] == "2.7.18"
    assert environment["software"]["torch"] == "0.4"
    assert environment["harness_software"]["python"] == software.own_versions()["python"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("#!{there}/python3.9", "there/python3.9"),
        ("#!{there}/python3.9 -u", "there/python3.9"),
        ("#!/usr/bin/env python3.9", "there/python3.9"),
        ("#!/usr/bin/env -S A=1 python3.9 -u", "there/python3.9"),
        ("#!/usr/bin/env python3.10", "default"),
        ("#!/bin/sh", "default"),
        ("#!/usr/bin/env", "default"),
        ("#!", "default"),
        ("import sys", "default"),
    ],
)
def test_the_python_of_a_script_is_that_of_its_first_line(
    tmp_path: Path, line: str, named: str
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    interpreter(there, "exit 0").rename(there / "python3.9")
    script = tmp_path / "train"
    script.write_text(f"{line.format(there=there)}\nprint(1)\n")
    found = software.named_python(script, str(there), tmp_path / "default")
    assert found == tmp_path / named


def test_a_package_on_the_programs_own_path_is_seen(tmp_path: Path) -> None:
    about = tmp_path / "numpy-9.9.9.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 9.9.9\n")
    told = software.versions_of(Path(sys.executable), {"PYTHONPATH": str(tmp_path)})
    assert told["numpy"] == "9.9.9"


def test_an_interpreter_tells_its_versions_without_any_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    python = interpreter(tmp_path, 'echo \'{"python": "3.99"}\'')
    assert software.versions_of(python, os.environ)["python"] == "3.99"
