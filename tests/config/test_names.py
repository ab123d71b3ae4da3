"""Names that are one to the eye are one, and those that only look alike are told apart."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from planning import document, faults_of, load, plan

from conftest import Project, toy_registry
from wattest.config.suggest import did_you_mean
from wattest.names import same_name, slug, spellings
from wattest.plan import store
from wattest.plan.load import Places, load_campaign

MODEL, RATE = "modèle", "débit"
ONE, OTHER = "NFC", "NFD"


def registry(form: str) -> dict[str, Any]:
    known = copy.deepcopy(toy_registry())
    toy = known["models"]["toy"]
    toy["models"] = [normalize(form, MODEL), "small"]
    parameters = toy["supported_hyperparams"]
    parameters[normalize(form, RATE)] = {**parameters["learning_rate"], "flag": "--rate"}
    return known


@pytest.mark.parametrize(("ours", "theirs"), [(ONE, OTHER), (OTHER, ONE)])
def test_a_name_is_the_registrys_however_its_accents_are_encoded(
    tmp_path: Path, ours: str, theirs: str
) -> None:
    model, rate = normalize(ours, MODEL), normalize(ours, RATE)
    design = {"name": "factorial", "levels": {rate: [0.01, 0.02]}}
    entries = [
        {"repo": "toy", "model": model, "hyperparameters": {rate: 0.5}},
        {"repo": "toy", "model": model, "mutate": [rate], "design": design},
    ]
    settings = load(tmp_path, document(*entries), registry(theirs))
    assert settings.warnings == ()
    made = plan(tmp_path, *entries, known=registry(theirs)).experiments
    assert {one.foreground.model for one in made} == {normalize(theirs, MODEL)}
    name = normalize(theirs, RATE)
    assert [one.foreground.hyperparameters[name] for one in made] == [0.5, 0.01, 0.02]
    other = plan(tmp_path, *entries, known=registry(ours)).experiments
    assert [one.id for one in made] == [one.id for one in other]


def test_two_encodings_of_one_name_are_given_twice(tmp_path: Path) -> None:
    values = {normalize(ONE, RATE): 0.1, normalize(OTHER, RATE): 0.2}
    entry = {"repo": "toy", "model": "small", "hyperparameters": values}
    (line,) = faults_of(tmp_path, document(entry), registry(ONE))
    assert line.endswith("is given twice, in two encodings of one name; keep one of them")


@pytest.mark.parametrize("odd", ["smаll", "ｓｍａｌｌ"])  # noqa: RUF001 - Cyrillic, and wide
def test_names_that_only_look_alike_are_spelled_out(tmp_path: Path, odd: str) -> None:
    (line,) = faults_of(tmp_path, document({"repo": "toy", "model": odd}))
    assert f"did you mean 'small' as 'small', here it is {odd!a}?" in line
    assert did_you_mean("smal", ["small"]) == "did you mean 'small'? (known: small)"


def test_an_exact_name_wins_over_one_that_is_equal_once_composed() -> None:
    both = spellings(MODEL)
    assert len(both) == 2
    assert [same_name(one, both) for one in both] == both
    assert same_name("none", both) is None
    assert slug(both[0]) == slug(both[1])


def test_a_file_is_found_and_its_plan_too_however_its_name_is_typed(project: Project) -> None:
    typed, stored = (normalize(form, "expérience.json") for form in (ONE, OTHER))
    project.settings({"repo": "toy", "model": normalize(OTHER, MODEL)}, seed=3)
    project.registry(registry(ONE))
    (project.path / "settings/test.json").rename(project.path / f"settings/{stored}")
    words = ("--config", f"settings/{typed}", "--collect-only", "-q", "-m")
    for form in (ONE, OTHER):
        found = project.run_here(*words, f"experiment(model='{normalize(form, MODEL)}')")
        found.stdout.fnmatch_lines(["*toy-mod_le-default-1*"])
    results, places = project.path / "results", Places(project.path, project.path)
    kept = store.store(results, load_campaign(places, words[1], None, None, results).plan)
    for name in (typed, stored):
        assert [one.path for one in store.stored_plans(results, f"settings/{name}")] == [kept]
