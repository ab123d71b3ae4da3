"""Hyper-parameters as a registry would have them, and what is drawn of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wattest.config.design import RANDOM, Design
from wattest.config.program import Hyperparameter, Value
from wattest.plan.designs import Mutant, draw

RATE = Hyperparameter("rate", "--lr", "float", 0.1, 1e-4, 1.0, "log_uniform")
DROPOUT = Hyperparameter("dropout", "--do", "float", 0.5, 0.0, 0.5, "uniform")
EPOCHS = Hyperparameter("epochs", "-e", "int", 10, 1, 1000, "uniform")
DECAY = Hyperparameter("decay", "--wd", "float", 0.0, 1e-5, 1e-2, "log_uniform", 0.25)
BATCH = Hyperparameter("batch", "-b", "int", 32, 16, 128, "uniform", levels=(16, 32, 64, 128))
FOLDS = Hyperparameter("folds", "-k", "int", 10, 2, 10, "uniform")
SEED = Hyperparameter("seed", "-s", "int", None, 0, 9, "uniform")


def ints(low: int, high: int, distribution: Any = "uniform", **more: Any) -> Hyperparameter:
    """Return an integer parameter, called ``n`` and without a default unless `more` says so."""
    given = {"name": "n", "default": None, **more}
    return Hyperparameter(
        flag="-n", kind="int", minimum=low, maximum=high, distribution=distribution, **given
    )


def floats(low: float, high: float, distribution: Any = "uniform", **more: Any) -> Hyperparameter:
    """Return a float parameter, called ``x`` and without a default unless `more` says so."""
    given = {"name": "x", "default": None, **more}
    return Hyperparameter(
        flag="-x",
        kind="float",
        minimum=float(low),
        maximum=float(high),
        distribution=distribution,
        **given,
    )


def draw_mutants(
    parameters: list[Hyperparameter],
    count: int | None,
    seed: int = 1,
    design: Design | str = RANDOM,
    taken: Iterable[tuple[Value | None, ...]] = (),
    **more: Any,
) -> list[Mutant]:
    """Return the mutants of `draw` without its notes; a design may be its name."""
    design = Design(design) if isinstance(design, str) else design
    return draw(parameters, count, seed, design, set(taken), **more)[0]


def as_tuples(drawn: Iterable[Mutant]) -> list[tuple[Value, ...]]:
    """Return the values of each mutant, in the order of its names."""
    return [tuple(mutant.values()) for mutant in drawn]
