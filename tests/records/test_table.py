"""The CSV of a session holds whole rows only, and none is lost to a full disk."""

from __future__ import annotations

import errno
import os

import pytest

from conftest import LOAD, TOY, Project
from wattest.records import Table
from wattest.records.table import row_of

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
    record["quality"]["flags"] = ["a pattern did not match: (?x) a\n  ([0-9.]+)", "another"]

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
    assert before.splitlines() == lines[:2]
    assert lines[2:] == [lines[2]] * 2
    assert b"a pattern did not match: (?x) a ([0-9.]+); another" in lines[2]


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


def test_a_csv_says_more_at_its_end_and_of_old_records_what_they_know(project: Project) -> None:
    project.describe("busy", progress=r"Epoch (\d+)")
    project.settings({"foreground": TOY, "background": LOAD, "baseline": True}, seed=1)
    assert project.run_here().ret == 0
    records = project.records()
    rows = {row["experiment_id"]: row for row in project.rows()}
    names = list(next(iter(rows.values())))
    assert names.index("plan_digest") + 1 == names.index("is_parallel")
    assert names[-1] == "pair_diff_accuracy"
    for record in records:
        row = rows[record["experiment_id"]]
        is_parallel = record["mode"] == "parallel"
        assert row["is_parallel"] == str(is_parallel)
        assert row["arm"] == record["plan"]["arm"] == ("parallel" if is_parallel else "alone")
        assert row["configuration_key"] == record["plan"]["configuration_key"]
        assert (row["verdict"], row["reasons"], row["energy_total_joules"]) == ("valid", "", "")
        assert row["host"] == record["environment"]["host"]["hostname"]
        assert float(row["fg_cpu_seconds"]) > 0
        assert row["bg_hyperparam_seconds"] == ("30.0" if is_parallel else "")
        assert (row["bg_cpu_seconds"] == "") is not is_parallel
    paired = [row for row in rows.values() if row["pair_experiment_id"]]
    assert {row["pair_experiment_id"] for row in paired} <= rows.keys()
    assert [row["pair_diff_accuracy"] for row in paired] == ["0.0"]
    # A record of a version that knew nothing of all this still has a row.
    for record in records:
        for key in ("configuration_key", "arm", "repetitions", "design"):
            del record["plan"][key]
        del record["environment"]["software"], record["record_version"]
        assert row_of(record)["is_parallel"] == (record["mode"] == "parallel")
        assert row_of(record)["configuration_key"] is None
