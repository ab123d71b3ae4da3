"""The CSV of a session holds whole rows only, and none is lost to a full disk."""

from __future__ import annotations

import errno
import os

import pytest

from conftest import TOY, Project
from wattest.records import Table

FULL = 'raise OSError(28, "No space left on device")'


def test_a_disk_that_takes_half_a_row_leaves_the_csv_as_it_was(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.settings(TOY)
    assert project.run_here().ret == 0
    (record,) = project.records()
    table = Table(project.path / "experiments.csv", project.plan(), [])
    table.add(record)
    before = table.file.read_bytes()

    def full(descriptor: int) -> None:
        os.truncate(descriptor, len(before) + 50)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            table.add(record)
    assert table.file.read_bytes() == before
    table.add(record)
    lines = table.file.read_bytes().splitlines()
    assert lines[1:] == [lines[1]] * 3


def test_a_row_that_cannot_be_written_is_a_warning_and_comes_later(project: Project) -> None:
    project.settings(TOY, TOY)
    # The head is written first, then a row of each experiment.
    project.interfere("records.table:write_atomically", f"if next(_calls) == 1: {FULL}")
    with (project.path / "conftest.py").open("a", encoding="utf-8") as file:
        file.write("import itertools\n_calls = itertools.count()\n")
    result = project.run()
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["*warning*No space left on device; the record counts*"])
    assert [record["training_success"] for record in project.records()] == [True, True]
    assert len(project.rows()) == 2
