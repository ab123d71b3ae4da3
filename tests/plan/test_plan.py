"""The plan is a pure function of settings, registry and seed."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from planning import document, faults_of, plan

from conftest import toy_registry
from wattest.names import slug
from wattest.plan.experiment import Plan
from wattest.plan.listing import listing

MUTANT = {"repo": "toy", "model": "small", "mutate": ["learning_rate"]}
PARALLEL = {
    "foreground": MUTANT,
    "background": {"repo": "busy", "model": "large", "hyperparameters": {"epochs": 3}},
}


def rates(made: Plan) -> list[float]:
    return [one.foreground.hyperparameters["learning_rate"] for one in made.experiments]


def test_the_same_seed_gives_the_same_plan_and_another_seed_another(tmp_path: Path) -> None:
    first = plan(tmp_path, MUTANT, runs_per_config=5)
    assert first.digest == plan(tmp_path, MUTANT, runs_per_config=5).digest
    assert rates(first) != rates(plan(tmp_path, MUTANT, runs_per_config=5, seed=8))


def test_mutants_do_not_depend_on_the_other_entries(tmp_path: Path) -> None:
    alone = plan(tmp_path, MUTANT, runs_per_config=3)
    beside = plan(tmp_path, PARALLEL, {**MUTANT, "mutate": ["epochs"]}, MUTANT, runs_per_config=3)
    assert rates(beside)[-3:] == rates(alone)
    assert rates(beside)[:3] != rates(alone)


def test_two_entries_that_ask_for_the_same_get_different_mutants(tmp_path: Path) -> None:
    entry = {**MUTANT, "mutate": ["epochs"]}
    made = plan(tmp_path, entry, entry, runs_per_config=9)
    values = [one.foreground.hyperparameters["epochs"] for one in made.experiments]
    assert len(set(values)) == 18
    assert 10 not in values


def test_ids_count_within_repo_model_and_mode_and_leave_the_background_out(tmp_path: Path) -> None:
    made = plan(tmp_path, PARALLEL, MUTANT, PARALLEL)
    ids = [one.id for one in made.experiments]
    assert ids == ["toy-small-parallel-1", "toy-small-mutation-1", "toy-small-parallel-2"]


def test_repetitions_of_a_fixed_training_have_equal_values_and_different_keys(
    tmp_path: Path,
) -> None:
    entry = {"repo": "toy", "model": "small", "hyperparameters": {"epochs": 3}}
    made = plan(tmp_path, entry, runs_per_config=3)
    assert len({one.key for one in made.experiments}) == 3
    assert [one.foreground.hyperparameters for one in made.experiments] == [
        {"learning_rate": 0.1, "epochs": 3}
    ] * 3


def test_each_block_holds_every_configuration_once_in_a_random_order(tmp_path: Path) -> None:
    entries = [
        {"repo": "toy", "model": "small", "hyperparameters": {"epochs": n}} for n in range(1, 9)
    ]
    made = plan(tmp_path, *entries, runs_per_config=4)
    orders = set()
    for block in range(1, 5):
        members = [one for one in made.experiments if one.block == block]
        epochs = [one.foreground.hyperparameters["epochs"] for one in members]
        assert sorted(epochs) == list(range(1, 9))
        orders.add(tuple(epochs))
    assert [one.block for one in made.experiments] == sorted(one.block for one in made.experiments)
    assert len(orders) == 4
    as_written = plan(tmp_path, *entries, runs_per_config=4, order="as_written")
    assert [one.id for one in as_written.experiments] == [
        f"toy-small-default-{n}" for n in range(1, 33)
    ]


def test_repeated_mutants_come_once_in_each_block(tmp_path: Path) -> None:
    made = plan(tmp_path, MUTANT, runs_per_config=3, repetitions=2)
    for block in (1, 2):
        values = {
            one.foreground.hyperparameters["learning_rate"]
            for one in made.experiments
            if one.block == block
        }
        assert len(values) == 3
    assert len(made.experiments) == 6


def test_fewer_repetitions_are_spread_over_all_blocks(tmp_path: Path) -> None:
    often = {"repo": "toy", "model": "small", "repetitions": 8}
    seldom = {"repo": "toy", "model": "large", "repetitions": 2}
    made = plan(tmp_path, often, seldom)
    blocks = [one.block for one in made.experiments if one.foreground.model == "large"]
    assert sorted(blocks) == [1, 5]


def test_a_baseline_is_the_same_training_alone_in_the_same_block(tmp_path: Path) -> None:
    made = plan(tmp_path, PARALLEL, baseline=True, repetitions=2)
    by_id = {one.id: one for one in made.experiments}
    assert len(by_id) == 4
    for one in made.experiments:
        partner = by_id[one.partner or ""]
        assert partner.partner == one.id
        assert partner.block == one.block
        assert partner.foreground == one.foreground
        assert bool(one.backgrounds) != bool(partner.backgrounds)
        assert one.mode == ("parallel" if one.backgrounds else "mutation")


@pytest.mark.parametrize("order", ["as_written", "randomized_blocks"])
def test_a_load_alone_comes_after_its_partner_in_their_block(tmp_path: Path, order: str) -> None:
    paired = {**PARALLEL, "baseline": "both", "runs_per_config": 4, "repetitions": 3}
    made = plan(tmp_path, paired, order=order).experiments
    at = {one.id: place for place, one in enumerate(made)}
    loads = [one for one in made if one.arm == "load"]
    assert len(loads) == 12
    for one in loads:
        partner = made[at[one.partner or ""]]
        assert (partner.arm, partner.block, partner.backgrounds) == (
            "parallel",
            one.block,
            one.backgrounds,
        )
        assert at[partner.id] < at[one.id]
        assert partner.foreground == one.foreground


def test_repetitions_and_arms_of_one_configuration_share_its_key(tmp_path: Path) -> None:
    registry = toy_registry()
    known = registry["models"]["toy"]["supported_hyperparams"]
    known["seed"] = {"flag": "--seed", "type": "int", "range": [0, 10**6]}
    paired = {**PARALLEL, "baseline": True, "runs_per_config": 2, "repetitions": 3}
    made = plan(tmp_path, paired, {"repo": "toy", "model": "small"}, known=registry).experiments
    assert len({one.foreground.hyperparameters.get("seed") for one in made}) == 7
    pairs = [one for one in made if one.design == "random"]
    (plain,) = (one for one in made if one.design is None)
    counts = Counter((one.configuration_key, one.arm, one.repetitions) for one in pairs)
    assert list(counts.values()) == [3] * 4
    assert {(one.arm, one.mode) for one in pairs} == {("parallel",) * 2, ("alone", "mutation")}
    assert (plain.arm, plain.mode) == ("alone", "default")
    keys = {one.configuration_key for one in pairs}
    assert len(keys) == 2
    assert plain.configuration_key not in keys


def test_a_listing_is_split_at_line_feeds_only(tmp_path: Path) -> None:
    names = ["a\u2028b", "c\u2029d"]
    known = toy_registry()
    known["models"]["toy"]["models"] = names
    made = plan(tmp_path, *({"repo": "toy", "model": name} for name in names), known=known)
    models = sorted(one.foreground.model for one in made.experiments)
    assert models == sorted(names)
    file = tmp_path / "listing"
    for form in ("json", "csv"):
        file.write_text("".join(f"{line}\n" for line in listing(made, form)), encoding="utf-8")
        with file.open(newline="", encoding="utf-8") as text:
            if form == "json":
                told = [one["model"] for one in json.load(text)["experiments"]]
            else:
                told = [row["model"] for row in csv.DictReader(text)]
        assert sorted(told) == models, form
    assert not any("\n" in line for line in listing(made, "json"))
    assert list(listing(made, "csv"))[-1]


def test_slugs_are_safe_parts_of_file_names() -> None:
    assert slug("../../etc/pass wd") == "_.._etc_pass_wd"
    assert slug("..") == "_"
    assert "/" not in slug("a/b\nc")


def test_entries_that_train_the_same_share_no_mutant_whatever_their_design(tmp_path: Path) -> None:
    drawn = {"repo": "toy", "model": "small", "mutate": ["epochs"], "runs_per_config": 9}
    made = plan(tmp_path, {**drawn, "design": "sobol"}, drawn)
    values = [one.mutated["epochs"] for one in made.experiments]
    assert len(set(values)) == len(values) == 18
    written_out = {**drawn, "hyperparameters": {"learning_rate": 0.1}}
    made = plan(tmp_path, drawn, written_out)
    values = [one.mutated["epochs"] for one in made.experiments]
    assert len(set(values)) == len(values) == 18


def test_entries_that_ask_alike_follow_a_sequence_of_their_own_each(tmp_path: Path) -> None:
    entry = {**MUTANT, "design": "sobol", "runs_per_config": 300}
    made = plan(tmp_path, entry, entry)
    assert len(set(rates(made))) == 600
    assert made.notes == ()


def test_entries_that_ask_alike_are_told_what_the_others_took(tmp_path: Path) -> None:
    drawn = {"repo": "toy", "model": "small", "mutate": ["epochs"], "runs_per_config": 10}
    (line,) = faults_of(tmp_path, document(drawn, drawn))
    assert line.startswith(
        "test.json::$.experiments[1]: only 9 distinct mutants of epochs exist, 10 were asked for"
        " (20 in all, of which 1 is the default, 10 taken by earlier experiments);"
    )


def test_more_combinations_than_can_be_planned_are_refused_before_any_is_made(
    tmp_path: Path,
) -> None:
    levels = {"learning_rate": [n / 10**5 for n in range(1, 9_001)],
              "seconds": [n / 10**3 for n in range(100, 9_100)]}  # fmt: skip
    entry = {"repo": "toy", "model": "small", "mutate": [*levels],
             "design": {"name": "factorial", "levels": levels}}  # fmt: skip
    expected = "test.json::$.experiments: asks for 81000000 experiments; at most 100000 can be"
    for asked in ({}, {"runs_per_config": 6}):
        (line,) = faults_of(tmp_path, document({**entry, **asked}))
        assert line.startswith(expected)
    fewer = {name: values[:2] for name, values in levels.items()}
    made = plan(tmp_path, {**entry, "design": {"name": "factorial", "levels": fewer}})
    assert len(made.experiments) == 4


def test_names_that_share_their_mutants_are_told_with_the_runs_of_each(tmp_path: Path) -> None:
    shared = {"repo": "toy", "model": "small", "mutate": ["epochs", "learning_rate"]}
    said = {**shared, "design": "random"}
    each = {**shared, "design": "one_at_a_time"}
    loaded = {"foreground": shared, "background": {"repo": "busy", "model": "large"}}
    paired = {**loaded, "baseline": True, "repetitions": 2}
    notes = plan(tmp_path, shared, said, {**loaded, "mode": "parallel"}, paired, each).notes
    meant = "the same ones: each mutant changes all names; say "
    starts = [
        "$.experiments[0].mutate and 1 more: runs of each name: learning_rate 1, epochs 1, "
        + meant,
        "$.experiments[3].foreground.mutate: runs of each name: learning_rate 4, epochs 4, "
        + meant,
        "$.experiments[4].mutate: runs of each name: learning_rate 1, epochs none; raise runs_per",
    ]
    assert [note[: len(start)] for note, start in zip(notes, starts, strict=True)] == starts
    assert plan(tmp_path, said, MUTANT, {**each, "runs_per_config": 2}).notes == ()
    assert plan(tmp_path, shared, design="sobol").notes == ()


def test_one_seed_gives_the_same_plan_whatever_stands_in_free_text(tmp_path: Path) -> None:
    first = plan(tmp_path, MUTANT, runs_per_config=2)
    second = plan(tmp_path, {**MUTANT, "comment": "why"}, runs_per_config=2, _note=1)
    assert first.digest == second.digest
