"""A task whose time runs out: it begins nothing that does not fit, and comes back later."""

from __future__ import annotations

import math
import re
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from wattest.errors import WattestError
from wattest.files import make_folder
from wattest.machine.slurm import REQUEUE_MOST, Job
from wattest.names import slug
from wattest.plan.experiment import Experiment
from wattest.plan.shards import unit_id
from wattest.plugin import workers
from wattest.plugin.items import experiment_of, experiments_among

OUT_OF_TIME = 75
"""Exit status of a task that leaves work to a later one (EX_TEMPFAIL of sysexits.h)."""
INTERRUPTIONS_MOST = 2
"""How often the end of a task may interrupt an experiment before it needs one with more time."""
_SPARE_SECONDS = 60.0
_SPARE_RATIO = 1.2
_NEAR_SECONDS = 120.0
_NOTED = re.compile(r"(\d+) s before")


class TimeLimit:
    """Watches the end of a Slurm job over one run of pytest.

    With xdist each worker has one, which begins nothing that does not fit, and its controller one,
    which ends as they ask and queues the task again.

    Args:
        config: pytest's.
        job: the job.
        folder: where it is noted what the end of a task has interrupted.
        known_seconds: how long experiments took so far, each with whether it had a load.
    """

    def __init__(
        self,
        config: pytest.Config,
        job: Job,
        folder: Path,
        known_seconds: Iterable[tuple[bool, float]],
    ) -> None:
        self._config = config
        self._job = job
        self._folder = folder
        self._longest: dict[bool, float] = {}
        for kind, seconds in known_seconds:
            self._learn(kind, seconds)
        self._begun: tuple[Experiment, float, float | None] | None = None
        self._unit: str | None = None
        self._is_out_of_time = self._is_stopped = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Begin no unit that does not fit the time that is left."""
        experiment = experiment_of(item)
        if experiment is None:
            return None
        unit, left = unit_id(experiment), self._job.seconds_left()
        is_new = unit != self._unit
        self._unit = unit
        if self._is_stopped:
            return True
        if is_new and left is not None and left < (needed := self._needed(item, unit)):
            self._stop(
                item.session,
                f"{experiment.id} needs about {needed:.0f} s, and this task has {left:.0f} s left",
            )
            return True
        self._begun = experiment, time.monotonic(), left
        return None

    def _stop(self, session: pytest.Session, reason: str) -> None:
        """Begin nothing more; a worker that stopped would have xdist interrupt all the others."""
        self._is_stopped = True
        if workers.is_worker(self._config):
            workers.tell(self._config, reason)
            workers.end_with(self._config, OUT_OF_TIME)
        else:
            session.shouldstop = reason

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Learn from a worker that it has left something to a later task."""
        self._is_stopped |= workers.status_of(node) == OUT_OF_TIME

    def _needed(self, item: pytest.Item, unit: str) -> float:
        """Return the seconds that a unit will take; 0 where nothing of its kind has run."""
        mine = [experiment for _, experiment in experiments_among(item.session.items)]
        seconds = [
            self._longest.get(bool(one.backgrounds), 0.0) for one in mine if unit_id(one) == unit
        ]
        return _SPARE_RATIO * sum(seconds) + _SPARE_SECONDS if all(seconds) else 0.0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Refuse what the end of its task has interrupted twice, unless it has more time now."""
        if self._begun is None:
            return
        experiment, _, left = self._begun
        had = self._had_seconds(experiment)
        if len(had) < INTERRUPTIONS_MOST:
            return
        if (math.inf if left is None else left) <= max(had) + _SPARE_SECONDS:
            pytest.fail(
                f"the end of its task has interrupted it {len(had)} times, and this task leaves it"
                f" no more time: it does not fit; give tasks more --time, or remove"
                f" {self._note(experiment)}",
                pytrace=False,
            )

    def pytest_runtest_logfinish(self) -> None:
        """Learn how long an experiment takes, load and pauses included."""
        if self._begun is not None:
            experiment, began, _ = self._begun
            self._learn(bool(experiment.backgrounds), time.monotonic() - began)
            self._begun = None

    def _learn(self, kind: bool, seconds: float) -> None:
        self._longest[kind] = max(seconds, self._longest.get(kind, 0.0))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """End with 75 where work is left; note what the end of the task has interrupted."""
        if self._is_stopped:
            session.exitstatus = OUT_OF_TIME
        elif exitstatus == pytest.ExitCode.INTERRUPTED and self._time_is_up():
            self._is_out_of_time = True
            if self._begun is not None:
                self._remember(self._begun[0], self._begun[2] or 0.0)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Queue this task again, as the very last act: it also ends it."""
        if workers.is_worker(self._config) or not (self._is_stopped or self._is_out_of_time):
            return
        if "SLURM_ARRAY_TASK_ID" not in self._job.environment:
            return
        if self._job.restarts >= REQUEUE_MOST:
            workers.tell(self._config, f"not queued again: that was done {REQUEUE_MOST} times")
            return
        if not self._job.is_wanted():
            workers.tell(self._config, "not queued again: it was cancelled, or runs elsewhere")
            return
        try:
            workers.tell(self._config, f"time is up: {self._job.name} is queued again")
            # Slurm ends what it queues again; all is written by now, and nothing is broken off.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self._job.requeue()
        except WattestError as error:
            workers.tell(self._config, f"not queued again: {error}")

    def _time_is_up(self) -> bool:
        """Tell whether the job's end is near, and nobody has cancelled it."""
        left = self._job.seconds_left()
        return left is not None and left <= _NEAR_SECONDS and self._job.is_wanted()

    def _note(self, experiment: Experiment) -> Path:
        return self._folder / f"{slug(experiment.key)}.interrupted"

    def _had_seconds(self, experiment: Experiment) -> list[float]:
        """Return how much time it had before each interruption; infinite where that is not said."""
        try:
            lines = self._note(experiment).read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        found = map(_NOTED.search, lines)
        return [math.inf if one is None else float(one[1]) for one in found]

    def _remember(self, experiment: Experiment, had_seconds: float) -> None:
        told = f"{experiment.id} had begun {had_seconds:.0f} s before the end of {self._job.name}"
        try:
            make_folder(self._folder)
            with self._note(experiment).open("a", encoding="utf-8") as file:
                file.write(f"{told}, which interrupted it\n")
        except OSError as error:
            workers.tell(self._config, f"warning: {error.filename}: {error.strerror}")
