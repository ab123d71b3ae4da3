"""What lies in a results folder is not trusted; what a session leaves there is not lost."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from conftest import LOAD, TOY, Project
from wattest.errors import ConfigurationError
from wattest.interrupts import OrderlySignals, interruptions_held
from wattest.plan import store
from wattest.records.reading import read_record
from wattest.records.resume import finished_experiments

THREE = {**TOY, "mutate": ["learning_rate"], "runs_per_config": 3}

# Replaces a function of the session: how a project's conftest.py makes things happen in time.
INTERFERE = """
import os, signal
import wattest.{module} as module
_whole = module.{name}
def _interfere(*words):
    {before}
    return _whole(*words)
module.{name} = _interfere
"""
INTERRUPT = "[os.kill(os.getpid(), signal.{number}) for _ in range({times})]"
FULL = 'raise OSError(28, "No space left on device")'


def interfere(project: Project, place: str, before: str) -> None:
    """Let something happen in the project's sessions right before a function is called."""
    module, _, name = place.partition(":")
    with (project.path / "conftest.py").open("a", encoding="utf-8") as file:
        file.write(INTERFERE.format(module=module, name=name, before=before))


def finished(project: Project) -> int:
    """Return how many experiments count as finished."""
    return len(finished_experiments(project.path / "results", project.resumed_plan()))


@pytest.mark.parametrize(
    ("place", "number", "times"),
    [
        ("records.folder:write_atomically", "SIGINT", 2),
        ("records.table:SessionArtefacts.add", "SIGTERM", 1),
        ("session.recorder:headline", "SIGHUP", 1),
    ],
)
def test_an_interruption_while_a_record_is_written_comes_after_it(
    project: Project, place: str, number: str, times: int
) -> None:
    project.settings(TOY, TOY)
    before = INTERRUPT.format(number=number, times=times)
    if place == "records.folder:write_atomically":
        before = f"if words[0].parent.name == 'results': {before}"
    interfere(project, place, before)
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED, result.stdout.str()
    (record,) = project.records()
    assert record["training_success"] is True
    assert [row["experiment_id"] for row in project.rows()] == [record["experiment_id"]]
    assert f"{number} received" in result.stdout.str()
    result.assert_outcomes(passed=1)


def test_an_interruption_after_the_training_does_not_undo_it(project: Project) -> None:
    project.settings(TOY, TOY)
    interrupt = INTERRUPT.format(number="SIGINT", times=1)
    interfere(project, "run.foreground:Foreground._say_end", interrupt)
    assert project.run().ret == pytest.ExitCode.INTERRUPTED
    assert [record["training_success"] for record in project.records()] == [True]


def test_held_interruptions_come_at_the_end_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[str] = []

    def hold(name: str, *numbers: signal.Signals) -> None:
        with interruptions_held(), interruptions_held():
            for number in numbers:
                signal.raise_signal(number)
            reached.append(name)

    signals = OrderlySignals()
    signals.install()
    try:
        with pytest.raises(KeyboardInterrupt, match=r"^SIGTERM received$"):
            hold("first", signal.SIGTERM, signal.SIGINT, signal.SIGINT)
        hold("second", signal.SIGINT)
        # What is stuck in such a block can still be broken off.
        monkeypatch.setattr("wattest.interrupts._STUCK_SECONDS", -1.0)
        with pytest.raises(KeyboardInterrupt, match=r"^SIGINT received again$"):
            hold("third", signal.SIGINT)
    finally:
        signals.restore()
    hold("not installed")
    assert reached == ["first", "second", "not installed"]


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "foreground result a list": lambda it: it | {"foreground_result": [1]},
    "plan a list": lambda it: it | {"plan": [it["plan"]["plan_digest"]]},
    "key a list": lambda it: it | {"plan": it["plan"] | {"experiment_key": ["x"]}},
    "nothing but plan and success": lambda it: {"plan": it["plan"], "training_success": True},
    "no quality": lambda it: {key: value for key, value in it.items() if key != "quality"},
    "success a string": lambda it: it | {"training_success": "true"},
    "loads no list": lambda it: it | {"mode": "parallel", "foreground_result": it,
                                      "background_info": {}, "further_backgrounds": 7},
    "energy a string": lambda it: it | {"energy_metrics": dict.fromkeys(it["energy_metrics"], "")},
    "energy not a number": lambda it: it | {"duration_seconds": float("nan")},
    "flags no strings": lambda it: it | {"quality": it["quality"] | {"flags": [1]}},
    "another registry": lambda it: it | {"plan": it["plan"] | {"program_digests": {"toy": "0"}}},
    "other settings": lambda it: it | {"plan": it["plan"] | {"settings_digest": "0"}},
    "of an older version": lambda it: it | {"plan": {key: value for key, value in it["plan"].items()
                                                     if not key.endswith("_digests")}},
}  # fmt: skip


def test_what_is_no_record_is_no_finished_experiment(project: Project) -> None:
    project.settings(TOY)
    assert project.run_here().ret == 0
    (file,) = (project.path / "results").glob("*.json")
    good = json.loads(file.read_text())
    assert finished(project) == 1
    for what, damage in HOSTILE.items():
        file.write_text(json.dumps(damage(good)))
        assert finished(project) == 0, what
    deep = "[" * 200_000 + good["plan"]["plan_digest"]
    for content in (b"", b"[]", b"\xff\xfe", deep.encode(), json.dumps(good).encode()[:-9]):
        file.write_bytes(content)
        assert finished(project) == 0, content[:9]
    file.unlink()
    os.mkfifo(file)
    assert finished(project) == 0
    file.with_name("again.json").write_text(json.dumps(good))
    assert finished(project) == 1


def test_resume_passes_over_what_somebody_else_has_put_into_the_folder(project: Project) -> None:
    project.settings(THREE, seed=1)
    assert project.run_here("-k", "mutation-1").ret == 0
    results = project.path / "results"
    (file,) = results.glob("*.json")
    good = json.loads(file.read_text())
    os.mkfifo(results / "0_fifo.json")
    (results / "0_folder.json").mkdir()
    (results / "0_deep.json").write_text("[" * 200_000)
    for number, damage in enumerate(HOSTILE.values()):
        (results / f"0_{number}.json").write_text(json.dumps(damage(good)))
    result = project.run("--resume", timeout=30)
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["resume: 1 of 3 experiments found finished, 2 left"])
    assert len({row["test_id"] for row in project.rows(newest=True)}) == 3


@pytest.mark.parametrize(
    "damage",
    [
        {"mutants": [1]},
        {"mutants": {"$.experiments[0]": [1]}},
        {"mutants": {"$.experiments[0]": {"a": 1}}},
        {"mutants": {"$.experiments[0]": [{"learning_rate": "x"}]}},
        {"mutants": {"$.experiments[0]": [{"learning_rate": float("inf")}]}},
        {"root_seed": "1"},
        {"root_seed": True},
        {"plan_digest": None},
        {"program_digests": []},
        "[" * 200_000,
        "[]",
        None,
    ],
    ids=lambda damage: json.dumps(damage)[:60],
)
def test_a_plan_file_that_is_none_is_refused_with_what_to_do(
    project: Project, damage: dict[str, Any] | str | None
) -> None:
    project.settings(THREE, seed=1)
    results = project.path / "results"
    file = store.store(results, project.resumed_plan())
    if damage is None:
        file.unlink()
        os.mkfifo(file)
    elif isinstance(damage, str):
        file.write_text(damage)
    else:
        file.write_text(json.dumps(json.loads(file.read_text()) | damage))
    with pytest.raises(ConfigurationError, match=r"is no plan \(.*remove it"):
        project.resumed_plan()


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


def test_a_row_that_cannot_be_written_is_a_warning_and_comes_later(project: Project) -> None:
    project.settings(TOY, TOY)
    interfere(project, "records.table:_append", f"if not project_rows(): {FULL}")
    with (project.path / "conftest.py").open("a", encoding="utf-8") as file:
        file.write("_calls = []\ndef project_rows():\n    _calls.append(1)\n"
                   "    return len(_calls) > 1\n")  # fmt: skip
    result = project.run()
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["*warning*No space left on device; the record counts*"])
    assert [record["training_success"] for record in project.records()] == [True, True]
    assert len(project.rows()) == 2


def test_plans_of_files_with_one_name_lie_side_by_side(project: Project) -> None:
    for folder, model in (("a", "small"), ("b", "large")):
        file = project.settings({**THREE, "model": model, "runs_per_config": 2})
        target = project.path / "settings" / folder / "t.json"
        target.parent.mkdir()
        file.replace(target)
    for folder in "ab":
        first = project.run_here("--config", f"settings/{folder}/t.json", "-k", "mutation-1")
        assert first.ret == 0
    for folder in "ab":
        options = ("--config", f"settings/{folder}/t.json", "--resume", "--collect-only", "-q")
        result = project.run_here(*options)
        assert result.ret == 0, result.stderr.str()
        result.stdout.fnmatch_lines(["resume: 1 of 2 experiments found finished, 1 left"])
