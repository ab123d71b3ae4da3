"""The experiment: train in the foreground under the meter, over the background load, and record."""

from __future__ import annotations

import pytest

from wattest.foreground import Foreground
from wattest.load import BackgroundLoad
from wattest.plan import Experiment
from wattest.recorder import Recorder


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
