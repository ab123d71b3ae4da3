"""A campaign in a run of pytest: planned, selected, checked, and begun before its first test."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from wattest.errors import ConfigurationError, WattestError
from wattest.interrupts import OrderlySignals
from wattest.machine.slurm import Job
from wattest.names import composed
from wattest.plan.experiment import Plan
from wattest.plan.load import Places, load_campaign
from wattest.plan.shards import Shard, parse_shard
from wattest.plugin import workers
from wattest.plugin.items import experiments_among, leave_out, parameter_of, put_in_order
from wattest.plugin.options import (
    cpu_energy,
    option,
    project_root,
    results_folder,
    run_as,
    session_options,
    session_to_resume,
)  # fmt: skip
from wattest.plugin.reporting import console_of, say
from wattest.plugin.timelimit import TimeLimit
from wattest.records import Finished, complete_csv, finished_experiments
from wattest.session import Session

if TYPE_CHECKING:
    from wattest.plugin.team import Team

_LOOKED_AT = 20


class CampaignRun:
    """The campaign that a run of pytest asks for; registered as a plugin where there is one.

    Raises:
        pytest.UsageError: settings or registry have faults; one line each.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._session: Session | None = None
        self.team: Team | None = None
        self._finished: dict[str, Finished] = {}
        self._is_announced = False
        for name in ("keyword", "markexpr"):
            setattr(config.option, name, composed(config.getoption(name) or ""))
        seed, drawn = workers.plan_of_controller(config)
        with usage_errors():
            self.campaign = load_campaign(
                Places(config.invocation_params.dir, project_root(config)),
                option(config, "config"),
                option(config, "models-config"),
                config.getoption("--seed") if seed is None else seed,
                results_folder(config),
                resume=config.getoption("--resume") or config.getoption("--shard") is not None,
                session=session_to_resume(config),
                is_finished=self._is_finished,
                drawn=drawn,
            )
            self._shard = self._shard_of_the_plan()

    @property
    def session(self) -> Session:
        """The session, opened at the first call: results folder, sensors, supervision."""
        if self._session is None:
            with usage_errors():
                options = session_options(self._config)
                self._session = Session(self.campaign, options, console_of(self._config))
        return self._session

    def announce(self) -> None:
        """Give several xdist workers their seats, take the signals, warn where no header is shown.

        The signals end pytest in order from its very start; a session takes them again.

        Raises:
            pytest.UsageError: the workers cannot all measure.
        """
        self._is_announced = True
        if not self._config.getoption("collectonly") and workers.is_controller(self._config):
            with usage_errors():
                self._form_team()
            self._watch_time()
        if not workers.is_worker(self._config):
            signals = OrderlySignals()
            signals.install()
            self._config.add_cleanup(signals.restore)
        if self._config.get_verbosity() < 0:
            for remark in self._remarks():
                sys.stderr.write(f"{remark}\n")

    def _form_team(self) -> None:
        """Reserve what several workers need, before one starts."""
        workers.refuse_remote(self._config)
        count = workers.workers_of(self._config)
        if count > 1:
            from wattest.plugin.team import Team

            wanted, options = cpu_energy(self._config), session_options(self._config)
            self.team = Team(self.campaign, count, options, wanted, partial(say, self._config))

    def pytest_sessionstart(self) -> None:
        """Leave the files that several workers have in common, and show their live lines."""
        if self.team is not None:
            from wattest.plugin.live import live_lines

            self.team.live = live_lines(self._config, console_of(self._config))
            with usage_errors():
                self.team.begin(resumes=self._config.getoption("--resume") and self._shard is None)

    def parameters(self) -> list[Any]:
        """Return one parameter for every planned experiment, with its id and its marks."""
        return [parameter_of(experiment) for experiment in self.campaign.plan.experiments]

    def pytest_report_header(self) -> list[str]:
        """Say what will run, on what machine, with which sensors; nobody reads a worker's."""
        if workers.is_worker(self._config):
            return []
        plan, count = self.campaign.plan, len(self.campaign.plan.experiments)
        lines = [
            f"wattest: {self.campaign.settings.file}, {count} experiment{'s' * (count != 1)}"
            f" planned, seed {plan.seed} ({self.campaign.seed_origin}), plan {plan.digest}"
        ]
        if self._is_announced and not self._config.getoption("collectonly"):
            lines += self.session.header()
            if workers.is_controller(self._config):
                self._close_session()
        if self.team is not None:
            lines += self.team.describe()
        return lines + self._remarks()

    def _remarks(self) -> list[str]:
        warnings = (f"warning: {warning}" for warning in self.campaign.warnings)
        return [*self.campaign.told, *warnings]

    def _is_finished(self, plan: Plan) -> bool:
        """Tell whether all of a plan has counted; the shards of one must all choose the same."""
        if self._config.getoption("--shard") is not None:
            return False
        finished = finished_experiments(results_folder(self._config), plan)
        return len(finished) == len(plan.experiments)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> Generator[None]:
        """With ``--resume``, leave out what has already counted; check what is left, in a worker.

        A worker that raised would break xdist, and nobody would see why: it runs nothing instead.
        """
        yield
        try:
            self._leave_out_other_shards(items)
            if self._config.getoption("--resume"):
                self._leave_out_finished(items)
            if workers.is_worker(self._config):
                session.items = items
                self._begin(items)
        except pytest.UsageError as error:
            if not workers.is_worker(self._config):
                raise
            for line in error.args:
                workers.tell(self._config, f"ERROR: {line}")
            workers.end_with(self._config, pytest.ExitCode.USAGE_ERROR)
            items.clear()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> Generator[None]:
        """Put the plan's order back, then check programs and sensors before anything runs.

        Positions and blocks are true in that order alone, whatever command line and plugins ask.
        """
        before = list(session.items)
        put_in_order(session.items, self.campaign.plan)
        if session.items != before:
            workers.tell(self._config, "the experiments run in the order of the plan")
        yield
        if not workers.is_worker(self._config):
            self._begin(session.items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """A campaign with nothing left to do has succeeded."""
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and (self._finished or self._shard):
            session.exitstatus = pytest.ExitCode.OK

    def pytest_unconfigure(self) -> None:
        """Close what the session and the team hold: sensors, locks, the governor."""
        self._close_session()
        if self.team is not None:
            self.team.close()
            self.team = None

    def _close_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _begin(self, items: list[pytest.Item]) -> None:
        selected = [experiment for _, experiment in experiments_among(items)]
        if not selected or self._config.getoption("collectonly"):
            return
        workers.refuse_several(self._config)
        with usage_errors():
            if faults := self.campaign.faults(selected, run_as(self._config)):
                raise ConfigurationError(faults)
            self.session.begin(selected, self._finished, is_shard=self._shard is not None)
        self._watch_time()

    def _watch_time(self) -> None:
        """Under Slurm, keep an eye on the end of the job."""
        if (job := Job.here()) is None:
            return
        folder = results_folder(self._config) / "slurm" / f"{self.campaign.plan.digest}"
        startup = {one.key: one.limits.startup_seconds for one in self.campaign.plan.experiments}
        durations = [
            (bool(one.row["bg_model"]), float(one.row["duration_seconds"]) + startup[key])
            for key, one in list(self._finished.items())[-_LOOKED_AT:]
            if one.row["duration_seconds"] is not None
        ]
        watch = TimeLimit(self._config, job, folder, durations)
        self._config.pluginmanager.register(watch, "wattest-time-limit")

    def _shard_of_the_plan(self) -> Shard | None:
        """Return the part of the plan that is asked for, which all parts must agree on."""
        named: str | None = self._config.getoption("--shard")
        if named is None:
            return None
        shard, campaign = parse_shard(named, os.environ), self.campaign
        # A worker has the plan that its controller was allowed.
        if not (campaign.is_stored or workers.is_worker(self._config)):
            remedy = "fix the plan first with wattest submit (--dry-run)"
            if campaign.seed_origin == "drawn":
                text = f"each shard would draw a plan of its own; {remedy}, or name its --seed"
                raise ConfigurationError([f"--shard {named}: {text}"])
            if campaign.settings.use_deduplication:
                text = f"what is drawn depends on the records that are there; {remedy}"
                raise ConfigurationError([f"--shard {named}: {text}"])
        return shard

    def _leave_out_other_shards(self, items: list[pytest.Item]) -> None:
        if self._shard is None:
            return
        keys = self._shard.keys(self.campaign.plan)
        ours = experiments_among(items)
        others = [item for item, experiment in ours if experiment.key not in keys]
        leave_out(self._config, items, others)
        total = len(self.campaign.plan.experiments)
        told = f"{len(keys)} of the plan's {total} experiments"
        workers.tell(self._config, f"shard {self._shard}: {told}")

    def _leave_out_finished(self, items: list[pytest.Item]) -> None:
        config, plan, ours = self._config, self.campaign.plan, experiments_among(items)
        collect_only, results = config.getoption("collectonly"), results_folder(config)
        with usage_errors():
            if ours and not collect_only:
                # What another session finishes while this one waits for the counters is done, too.
                self.session.take_counters()
            self._finished = finished_experiments(results, plan)
        done = [item for item, experiment in ours if experiment.key in self._finished]
        leave_out(config, items, done)
        left = len(ours) - len(done)
        told = f"resume: {len(done)} of {len(ours)} experiments found finished, {left} left"
        workers.tell(config, told)
        if done and not left and not collect_only and self._shard is None:
            with usage_errors():
                completed = complete_csv(results, self._finished, plan)
            if completed is not None:
                workers.tell(config, f"resume: {completed} was cut short and is complete now")
        if workers.is_worker(config) and done and not left:
            workers.end_with(config, pytest.ExitCode.OK)


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn what wattest raises into pytest's usage error: one line per fault, exit code 4."""
    try:
        yield
    except WattestError as error:
        raise pytest.UsageError(*str(error).split("\n")) from None
