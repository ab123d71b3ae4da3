"""Exactly one record for every experiment, whatever comes while it is written."""

from __future__ import annotations

import pytest

from conftest import LOAD, TOY, Project
from wattest.records import read_record

INTERRUPT = "[os.kill(os.getpid(), signal.{number}) for _ in range({times})]"


@pytest.mark.parametrize(
    ("place", "number", "times"),
    [
        ("records.folder:write_atomically", "SIGINT", 2),
        ("records.table:Table.add", "SIGTERM", 1),
        ("session.recorder:headline", "SIGHUP", 1),
    ],
)
def test_an_interruption_while_a_record_is_written_comes_after_it(
    project: Project, place: str, number: str, times: int
) -> None:
    project.settings(TOY, TOY)
    project.interfere(place, INTERRUPT.format(number=number, times=times))
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED, result.stdout.str()
    (record,) = project.records()
    assert record["training_success"] is True
    assert [row["experiment_id"] for row in project.rows()] == [record["experiment_id"]]
    assert f"{number} received" in result.stdout.str()
    result.assert_outcomes(passed=1)


def test_an_interruption_after_the_training_does_not_undo_it(project: Project) -> None:
    project.settings(TOY, TOY)
    project.interfere(
        "run.foreground:Foreground._say_end", INTERRUPT.format(number="SIGINT", times=1)
    )
    assert project.run().ret == pytest.ExitCode.INTERRUPTED
    assert [record["training_success"] for record in project.records()] == [True]


@pytest.mark.parametrize("harm", ['rm "$file"', 'echo \'{"half\' > "$file"'])
def test_a_partner_that_is_gone_costs_no_record(project: Project, harm: str) -> None:
    script = f"""\
        #!/bin/sh
        for file in ../../results/2*.json; do [ -f "$file" ] && {harm}; done
        echo Accuracy: 1
        sleep 0.2
        """
    project.program("toy", script)
    project.load("#!/bin/sh\nwhile :; do :; done\n")
    project.settings({"foreground": TOY, "background": LOAD, "baseline": True}, seed=5)
    result = project.run_here()
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["*warning*not compared with toy-small-*missing or damaged*"])
    records = map(read_record, (project.path / "results").glob("2*.json"))
    (record,) = (one for one in records if one is not None)
    assert record["pair"] is None
    quality = record.get("foreground_result", record)["quality"]
    assert any("not compared with" in flag for flag in quality["flags"])
    assert len(project.rows()) == 2


def test_an_experiment_that_cannot_begin_leaves_a_record_and_says_why(project: Project) -> None:
    project.describe("toy", gpu_memory_mb=9000)
    project.settings({**TOY, "gpu_memory_limit_mb": 1000})
    result = project.run_here()
    assert result.ret == 1
    reason = "toy/small needs 9000 MB of GPU memory, and gpu_memory_limit_mb is 1000"
    result.stdout.fnmatch_lines([f"{reason}*"])
    assert "Traceback" not in result.stdout.str()
    assert "didn't yield" not in result.stdout.str()
    (record,) = project.records()
    assert record["error_message"].startswith(reason)


def test_threads_of_one_session_are_measured_one_after_the_other(project: Project) -> None:
    """Plugins run one test in several threads, and one counter sees all that they train."""
    project.settings({**TOY, "hyperparameters": {"seconds": 0.3}})
    with (project.path / "conftest.py").open("a", encoding="utf-8") as file:
        file.write(TWICE)
    result = project.run_here()
    assert result.ret == 0, result.stdout.str()
    windows = [one["energy_provenance"]["window"] for one in project.records()]
    first, second = sorted(windows, key=lambda window: window["opened_ns"])
    assert first["closed_ns"] <= second["opened_ns"]


TWICE = """
import threading, pytest
@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    names = pyfuncitem._fixtureinfo.argnames
    call = lambda: pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    threads = [threading.Thread(target=call) for _ in range(2)]
    [one.start() for one in threads]
    [one.join() for one in threads]
    return True
"""
