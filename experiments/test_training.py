"""The experiment: train in the foreground under the meter, over the background load, and record."""

from __future__ import annotations

import pytest

from wattest.plan.experiment import Experiment
from wattest.run import BackgroundLoad, Foreground
from wattest.session import Recorder


def test_training(
    experiment: Experiment,
    background_load: BackgroundLoad,
    foreground: Foreground,
    recorder: Recorder,
) -> None:
    """Each planned experiment leaves one record, and fails if its numbers may not count."""
    with (
        recorder.recording(experiment) as outcome,
        background_load.running(experiment, outcome) as load,
    ):
        foreground.train(experiment, outcome, load)
    if not outcome.succeeded:
        pytest.fail(outcome.explain(), pytrace=False)
