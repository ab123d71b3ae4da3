"""What lies in a results folder is not trusted: what is no record is no finished experiment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from conftest import TOY, Project
from wattest.records import finished_experiments

THREE = {**TOY, "mutate": ["learning_rate"], "runs_per_config": 3}
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


# What no reader relies on may be missing, or there beside it: so it is in other versions.
FROM_ELSEWHERE: dict[str, Callable[[dict[str, Any]], object]] = {
    "an older one": lambda it: {key: value for key, value in it.items()
                                if key not in ("meter", "cpu_use", "cooldown")},
    "a newer one": lambda it: it | {"record_version": 9, "quality": it["quality"] | {"new": {}}},
    "one with other attempts": lambda it: it | {"attempts": [{"number": 1}]},
    "one with other domains": lambda it: it | {"energy_provenance": {"domains": {}}},
}  # fmt: skip


def finished(project: Project) -> int:
    """Return how many experiments count as finished."""
    return len(finished_experiments(project.path / "results", project.plan(resume=True)))


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


def test_a_record_of_another_version_still_counts(project: Project) -> None:
    project.settings(TOY)
    assert project.run_here().ret == 0
    (file,) = (project.path / "results").glob("*.json")
    good = json.loads(file.read_text())
    for what, change in FROM_ELSEWHERE.items():
        file.write_text(json.dumps(change(good)))
        assert finished(project) == 1, what


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
