"""The tests that run experiments, among what pytest has collected."""

from __future__ import annotations

from typing import Any

import pytest

from wattest.names import composed
from wattest.plan.experiment import Experiment, Plan


def experiments_among(items: list[pytest.Item]) -> list[tuple[pytest.Item, Experiment]]:
    """Return the items that run an experiment, each with it."""
    found = [(item, experiment_of(item)) for item in items]
    return [(item, experiment) for item, experiment in found if experiment is not None]


def experiment_of(item: pytest.Item) -> Experiment | None:
    """Return the experiment that an item runs, if it is one of ours."""
    callspec = getattr(item, "callspec", None)
    found = None if callspec is None else callspec.params.get("experiment")
    return found if isinstance(found, Experiment) else None


def put_in_order(items: list[pytest.Item], plan: Plan) -> None:
    """Sort the experiments among `items` as planned; what else is there stays where it stands."""
    places = {experiment.id: place for place, experiment in enumerate(plan.experiments)}
    ours = sorted(experiments_among(items), key=lambda one: places.get(one[1].id, len(places)))
    sequence, is_ours = iter(ours), {item for item, _ in ours}
    items[:] = [next(sequence)[0] if item in is_ours else item for item in items]


def leave_out(config: pytest.Config, items: list[pytest.Item], gone: list[pytest.Item]) -> None:
    """Take some items out, and let pytest count them as deselected."""
    if gone:
        config.hook.pytest_deselected(items=gone)
        left = set(items) - set(gone)
        items[:] = [item for item in items if item in left]


def parameter_of(experiment: Experiment) -> Any:
    """Return the parameter of a test that runs this experiment, with its id and its marks."""
    training, mode = experiment.foreground, experiment.mode
    said = {
        "repo": composed(training.program.name),
        "model": composed(training.model),
        "mode": mode,
        "arm": experiment.arm,
    }
    loads: list[str | None] = [composed(background.model) for background in experiment.backgrounds]
    marks = [pytest.mark.experiment(**said, background=load) for load in loads or [None]]
    return pytest.param(experiment, id=experiment.id, marks=[getattr(pytest.mark, mode), *marks])
