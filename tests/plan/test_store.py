"""A plan on disk is a plan or is refused, and every settings file has its own."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from conftest import TOY, Project
from wattest.errors import ConfigurationError
from wattest.plan import store

THREE = {**TOY, "mutate": ["learning_rate"], "runs_per_config": 3}


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
    file = store.store(project.path / "results", project.plan())
    if damage is None:
        file.unlink()
        os.mkfifo(file)
    elif isinstance(damage, str):
        file.write_text(damage)
    else:
        file.write_text(json.dumps(json.loads(file.read_text()) | damage))
    with pytest.raises(ConfigurationError, match=r"is no plan \(.*remove it"):
        project.plan(resume=True)


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
