"""From the files of a project to its plan: paths, seed, history, and a plan that stands already."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from planning import document

from conftest import toy_registry
from wattest.errors import ConfigurationError
from wattest.plan import store
from wattest.plan.load import Campaign, Places, load_campaign

MUTANT: dict[str, Any] = {"repo": "toy", "model": "small", "mutate": ["epochs"]}
RATE: dict[str, Any] = {**MUTANT, "mutate": ["learning_rate"]}
# The columns of older campaigns that tell what was trained; theirs have dozens more.
COLUMNS = (
    "experiment_id", "timestamp", "repository", "model", "training_success", "hyperparam_epochs",
    "hyperparam_learning_rate", "perf_accuracy", "energy_gpu_total_joules", "num_mutated_params",
    "mutated_param", "mode", "fg_repository", "fg_model", "fg_training_success",
    "fg_hyperparam_epochs", "bg_repository", "bg_note",
)  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the root of a project with the toy programs."""
    registry = tmp_path / "config/models_config.json"
    registry.parent.mkdir()
    registry.write_text(json.dumps(toy_registry()), encoding="utf-8")
    return tmp_path


def planned(root: Path, content: dict[str, Any], seed: int | None = None, **how: Any) -> Campaign:
    """Return what is made of settings of this content."""
    (root / "settings.json").write_text(json.dumps(content), encoding="utf-8")
    places = Places(root, root)
    return load_campaign(places, "settings.json", None, seed, root / "results", **how)


def test_a_file_has_one_name_by_whatever_link_the_project_is_reached(root: Path) -> None:
    link = root.with_name(f"{root.name}-link")
    link.symlink_to(root)
    (root / "settings").mkdir()
    (root / "mine.json").touch()
    (root / "settings/link.json").symlink_to("../mine.json")
    for project in (root, link):
        for folder in (root, link):
            shown = Places(root, project).shown(folder / "settings/link.json")
            assert shown == "settings/link.json"
    assert Places(root, root).shown(link.parent / "x.json") == str(link.parent / "x.json")


def old_rows(path: Path, *rows: dict[str, object]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def test_what_older_campaigns_trained_is_not_drawn_again(root: Path) -> None:
    alone = {"repository": "toy", "model": "small", "training_success": "True",
             "num_mutated_params": 1, "mutated_param": "epochs"}  # fmt: skip
    loaded = {**alone, "mode": "parallel", "fg_repository": "toy", "fg_model": "small"}
    rows = [{**alone, "hyperparam_epochs": n} for n in range(1, 13)]
    rows += [{**loaded, "hyperparam_epochs": n, "fg_hyperparam_epochs": n} for n in (19, 20)]
    old_rows(root / "data/raw.csv", *rows)
    asked = {**MUTANT, "runs_per_config": 8}
    history = {"use_deduplication": True, "historical_csvs": ["data/raw.csv", "data/none.csv"]}
    campaign = planned(root, document(asked, **history))
    drawn = {one.mutated["epochs"] for one in campaign.plan.experiments}
    assert drawn == set(range(13, 21))
    assert campaign.warnings == (
        f"{root / 'data/none.csv'}: no such file; its experiments are not avoided",
    )
    more = {**MUTANT, "runs_per_config": 9}
    with pytest.raises(ConfigurationError, match=r"only 8 .* 9 were .* 11 taken by earlier"):
        planned(root, document(more, **history))
    assert len(planned(root, document(more)).plan.experiments) == 9


@pytest.mark.parametrize(
    ("options", "own", "seed", "origin"),
    [
        ({"seed": 4}, {"seed": 9}, 4, "given"),
        ({}, {"seed": 9}, 9, "from the settings"),
        ({"resume": True}, {}, 5, "of the plan that is resumed"),
    ],
)
def test_the_seed_is_the_given_one_then_that_of_the_plan_then_that_of_the_settings(
    root: Path, options: dict[str, Any], own: dict[str, Any], seed: int, origin: str
) -> None:
    store.store(root / "results", planned(root, document(RATE), seed=5).plan)
    made = planned(root, document(RATE, **own), **options)
    assert (made.plan.seed, made.seed_origin) == (seed, origin)


def test_a_stored_plan_keeps_its_mutants_whatever_would_be_drawn_now(root: Path) -> None:
    content = document({**RATE, "runs_per_config": 2})
    path = store.store(root / "results", planned(root, content, seed=3).plan)
    stored = json.loads(path.read_text(encoding="utf-8"))
    # Earlier versions drew doubles to their last digit.
    old = [0.07230527812503422, 0.011795336261176143]
    drawn = {"$.experiments[0]": [{"learning_rate": rate} for rate in old]}
    made = planned(root, content, seed=3, drawn=drawn).plan
    assert [one.mutated["learning_rate"] for one in made.experiments] == old
    path.write_text(json.dumps(stored | {"mutants": drawn}), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="the same settings and seed give another plan"):
        planned(root, content, resume=True)
    changed = stored | {"mutants": drawn, "plan_digest": made.digest}
    path.write_text(json.dumps(changed), encoding="utf-8")
    resumed = planned(root, content, resume=True).plan
    assert [one.key for one in resumed.experiments] == [one.key for one in made.experiments]


def begun(root: Path, seed: int, content: dict[str, Any] | None = None) -> Path:
    """Return the stored plan of a session of its own, called ``s{seed}``."""
    made = planned(root, content or document(RATE), seed=seed)
    return store.store(root / "results", made.plan, root / f"results/sessions/s{seed}")


def continued(root: Path, content: dict[str, Any] | None = None, **how: Any) -> Campaign:
    return planned(root, content or document(RATE), resume=True, **how)


def test_a_stored_plan_is_never_written_again(root: Path) -> None:
    first = begun(root, 5)
    content = first.read_bytes()
    other = begun(root, 6)
    assert begun(root, 5) == first != other
    assert first.read_bytes() == content


def test_the_newest_unfinished_campaign_is_continued_and_named(root: Path) -> None:
    for seed in (5, 6, 7):
        begun(root, seed)
    done = {7}
    made = continued(root, is_finished=lambda plan: plan.seed in done)
    assert made.plan.seed == 6
    (told,) = made.told
    assert told.startswith("resume: continues the campaign of seed 6, planned 2")
    assert "choose another with --seed or --session: seed 7, planned 2" in told
    done |= {5, 6}
    assert continued(root, is_finished=lambda plan: plan.seed in done).plan.seed == 7


def test_a_seed_or_a_session_names_the_campaign_to_continue(root: Path) -> None:
    for seed in (5, 6):
        begun(root, seed)
    assert continued(root, seed=5).plan.seed == 5
    assert continued(root, session="s5").plan.seed == 5
    with pytest.raises(ConfigurationError, match="was made with seed 6, not 9") as caught:
        continued(root, seed=9)
    assert len(caught.value.faults) == 2
    for session in ("none", "../sessions/s5"):
        with pytest.raises(ConfigurationError, match=r"--session .*: .* names no plan; .*--seed"):
            continued(root, session=session)
    (root / "settings.json").rename(root / "other.json")
    places, results = Places(root, root), root / "results"
    with pytest.raises(ConfigurationError, match=r"--session s5: it ran no plan of other\.json"):
        load_campaign(places, "other.json", None, None, results, resume=True, session="s5")


def test_a_campaign_of_settings_that_have_changed_since_is_passed_over(root: Path) -> None:
    begun(root, 5)
    begun(root, 6, document(RATE, max_retries=0))
    assert continued(root).plan.seed == 5
    assert continued(root, document(RATE, max_retries=0)).plan.seed == 6
    with pytest.raises(ConfigurationError, match=r"settings.json has changed") as caught:
        continued(root, document(RATE, max_retries=1))
    assert len(caught.value.faults) == 1


def test_a_plan_of_an_earlier_version_is_continued(root: Path) -> None:
    path = begun(root, 5)
    stored = json.loads(path.read_text(encoding="utf-8"))
    del stored["planned_at"]
    path.with_name(f"{path.stem.rpartition('-')[0]}.json").write_text(json.dumps(stored))
    path.unlink()
    assert continued(root).plan.seed == 5
