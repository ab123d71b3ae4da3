"""One seed, one plan: whatever else happens, on every platform, and for good."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from drawing import as_tuples, draw_mutants, floats, ints

from wattest.plan.designs import mutant_key
from wattest.plan.sampling import derive_seed

GOLDEN_PARAMETERS = [
    floats(1e-6, 0.5, "log_uniform", name="learning_rate"),
    ints(100, 300, "log_uniform", name="epochs"),
    floats(0.0, 0.5, name="dropout"),
    ints(0, 9999, name="seed"),
    floats(1e-5, 1e-2, "log_uniform", zero_probability=0.3, name="weight_decay"),
]
GOLDEN = [
    (3.59708131886e-05, 192, 0.012717565235, 9368, 0.000684358754777),
    (0.0205487807103, 157, 0.0302713118216, 1405, 0.0),
    (3.4561640595e-05, 124, 0.181107383484, 1315, 0.0),
]


def test_the_same_seed_draws_the_same_and_another_seed_does_not() -> None:
    parameters = [floats(0, 1), ints(1, 10**6)]
    assert draw_mutants(parameters, 50, seed=4) == draw_mutants(parameters, 50, seed=4)
    seeds = [4, 5, 2**63, 2**70]
    assert len({draw_mutants(parameters, 1, seed=seed)[0]["x"] for seed in seeds}) == len(seeds)


def test_these_values_belong_to_this_seed_for_good() -> None:
    drawn = as_tuples(draw_mutants(GOLDEN_PARAMETERS, 3, seed=derive_seed(2025, "golden")))
    assert drawn == GOLDEN


def test_no_value_hangs_on_the_logarithms_of_the_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    rare = ints(1, 9, "log_uniform", zero_probability=1 - 1e-9, default=0)
    expected = draw_mutants(GOLDEN_PARAMETERS, 3), draw_mutants([rare], 9)
    for name in ("exp", "expm1", "log", "log1p", "log2", "log10", "pow", "sqrt"):
        monkeypatch.delattr(math, name)
    assert (draw_mutants(GOLDEN_PARAMETERS, 3), draw_mutants([rare], 9)) == expected


def test_more_mutants_begin_with_the_fewer() -> None:
    parameters = [ints(0, 20, default=3), floats(0, 1, levels=(0.0, 0.5, 1.0))]
    everything = draw_mutants(parameters, 63, seed=8)
    for count in (1, 5, 62):
        assert draw_mutants(parameters, count, seed=8) == everything[:count]


def test_the_order_in_which_taken_mutants_are_named_changes_nothing() -> None:
    # Multiples of this number hash alike, so that a set keeps them in the order of insertion.
    step = sys.hash_info.modulus
    levels = (step, 2 * step, 3 * step)
    rare = {"levels": levels, "zero_probability": 1 - 1e-9, "default": 0}
    parameters = [ints(0, 3 * step, name=name, **rare) for name in ("a", "b")]
    taken = [(step, step), (2 * step, step)]
    for seed in range(40):
        first = draw_mutants(parameters, 1, seed=seed, taken=taken)
        assert draw_mutants(parameters, 1, seed=seed, taken=taken[::-1]) == first


def test_global_random_state_is_neither_used_nor_changed() -> None:
    random.seed(1)
    before = random.getstate()
    first = draw_mutants([floats(0, 1)], 3)
    assert random.getstate() == before
    random.seed(2)
    assert draw_mutants([floats(0, 1)], 3) == first


SCRIPT = """
import sys
from drawing import draw_mutants, floats, ints
n = ints(0, 999)
x = floats(1e-5, 1, "log_uniform", name="x", default=0.0, zero_probability=0.9)
taken = frozenset((value,) for value in range(990))
print(draw_mutants([n], 10, taken=taken), draw_mutants([n, x], 3))
print(sorted({"numpy", "scipy", "torch"} & set(sys.modules)))
"""


def test_another_process_draws_the_same_and_loads_no_heavy_module() -> None:
    outputs = set()
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests.parent / "src"), str(tests)])
    for hash_seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        command = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        outputs.add(done.stdout)
    (output,) = outputs
    assert output.splitlines()[1] == "[]"


def test_derived_seeds_tell_parts_and_their_borders_apart() -> None:
    seeds = [
        derive_seed(1),
        derive_seed(1, ""),
        derive_seed(1, "ab", "c"),
        derive_seed(1, "a", "bc"),
        derive_seed(1, "abc"),
        derive_seed(2, "abc"),
        derive_seed(-1, "abc"),
        derive_seed(1, "\udce9"),
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert derive_seed(2025, "entry", "ü") == 10122353354421804872


def test_the_key_of_a_mutant_fills_in_defaults() -> None:
    parameters = [ints(1, 3, default=2, name="a"), floats(0, 1, name="b")]
    assert mutant_key({"b": 0.5}, parameters) == (2, 0.5)
    assert mutant_key({}, parameters) == (2, None)
