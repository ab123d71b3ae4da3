"""Shards: disjoint parts of a plan that together are all of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from planning import MUTANT, PARALLEL, plan

from wattest.errors import ConfigurationError
from wattest.plan.experiment import Plan
from wattest.plan.shards import Shard, parse_shard, units

PAIRS = {**PARALLEL, "runs_per_config": 4, "baseline": True}


@pytest.fixture
def paired(tmp_path: Path) -> Plan:
    """Return a plan of four mutants, each with and without load, in three blocks."""
    return plan(tmp_path, PAIRS, repetitions=3)


@pytest.mark.parametrize("count", [*range(1, 14), 30])
def test_shards_are_disjoint_and_cover_the_plan(paired: Plan, count: int) -> None:
    parts = [Shard(number, count).keys(paired) for number in range(1, count + 1)]
    seen = Counter(key for part in parts for key in part)
    assert seen == Counter(one.key for one in paired.experiments)
    by_key = {one.key: one for one in paired.experiments}
    for part in parts:
        ids = {by_key[key].id for key in part}
        assert {by_key[key].partner for key in part} == ids, "a pair is in two shards"


def test_shards_are_as_equal_as_can_be(paired: Plan) -> None:
    sizes = [len(Shard(number, 5).keys(paired)) // 2 for number in range(1, 6)]
    assert sum(sizes) == 12
    assert max(sizes) - min(sizes) <= 1


def test_a_shard_is_a_run_of_consecutive_units(paired: Plan) -> None:
    whole = [{one.key for one in unit} for unit in units(paired.experiments)]
    parts = [Shard(number, 5).keys(paired) for number in range(1, 6)]
    order = [next(n for n, part in enumerate(parts) if unit <= part) for unit in whole]
    assert order == sorted(order)


@pytest.mark.parametrize("count", [1, 3])
def test_shards_are_whole_blocks_where_that_can_be(tmp_path: Path, count: int) -> None:
    once = {**MUTANT, "runs_per_config": 1, "repetitions": 1}
    uneven = plan(tmp_path, PAIRS, once, repetitions=3)
    for number in range(1, count + 1):
        part = Shard(number, count).keys(uneven)
        blocks = {one.block for one in uneven.experiments if one.key in part}
        assert part == {one.key for one in uneven.experiments if one.block in blocks}


def test_what_has_no_partner_is_a_unit_of_its_own(tmp_path: Path) -> None:
    alone = plan(tmp_path, {**MUTANT, "runs_per_config": 3})
    assert [len(unit) for unit in units(alone.experiments)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("2/5", {}, Shard(2, 5)),
        ("slurm", {"ID": "3", "COUNT": "4", "MIN": "1", "MAX": "4"}, Shard(3, 4)),
        ("slurm", {"ID": "0", "COUNT": "4", "MIN": "0", "MAX": "3"}, Shard(1, 4)),
    ],
)
def test_a_shard_is_named(text: str, environment: dict[str, str], expected: Shard) -> None:
    slurm = {f"SLURM_ARRAY_TASK_{name}": value for name, value in environment.items()}
    assert parse_shard(text, slurm) == expected


def test_a_task_of_srun_is_a_shard() -> None:
    assert parse_shard("slurm", {"SLURM_PROCID": "2", "SLURM_NTASKS": "3"}) == Shard(3, 3)


def test_a_batch_script_that_forgot_srun_is_refused() -> None:
    batch = {"ENVIRONMENT": "BATCH", "SLURM_PROCID": "0", "SLURM_NTASKS": "3"}
    with pytest.raises(ConfigurationError, match="start pytest by srun"):
        parse_shard("slurm", batch)
    assert parse_shard("slurm", {**batch, "SLURM_STEP_ID": "0"}) == Shard(1, 3)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "-1/3", "a/b", "1/3/5", "slurm", ""])
def test_what_is_no_shard_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^--shard {text}: ") as caught:
        parse_shard(text, {})
    assert "\n" not in str(caught.value)


def test_an_array_with_gaps_needs_to_be_told_the_number_of_shards() -> None:
    values = {"ID": "3", "COUNT": "2", "MIN": "3", "MAX": "7"}
    environment = {f"SLURM_ARRAY_TASK_{name}": value for name, value in values.items()}
    with pytest.raises(ConfigurationError, match="has only 2 tasks"):
        parse_shard("slurm", environment)


@pytest.mark.parametrize(
    "odd",
    [
        {"SLURM_PROCID": "3", "SLURM_NTASKS": "2"},
        {"SLURM_PROCID": "-1", "SLURM_NTASKS": "2"},
        {f"SLURM_ARRAY_TASK_{name}": number for name, number in
         (("ID", "5"), ("COUNT", "3"), ("MIN", "1"), ("MAX", "3"))},
    ],
)  # fmt: skip
def test_a_task_outside_of_what_slurm_counts_is_refused(odd: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"slurm is .*: K must be from 1 to N"):
        parse_shard("slurm", odd)
