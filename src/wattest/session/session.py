"""One session on one machine: opened before anything runs, begun with what was selected, closed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from wattest.config.program import interpreter_of
from wattest.energy import find_sensors
from wattest.errors import EnergyError, RecordError, WattestError
from wattest.files import json_text, make_folder, user_name, write_atomically
from wattest.interrupts import OrderlySignals
from wattest.machine import counters_of, facts, set_governor, take
from wattest.machine.slurm import Job
from wattest.machine.software import Versions, versions_of
from wattest.names import slug
from wattest.plan import store
from wattest.plan.experiment import Experiment
from wattest.plan.load import Campaign
from wattest.process import sweep
from wattest.records import Context, Finished, Headline, Row, Table, folder
from wattest.run import BackgroundLoad, Foreground, Launcher
from wattest.session.idle import IdleMachine
from wattest.session.preflight import Preflight
from wattest.session.progress import ProgressBoard
from wattest.session.recorder import Recorder
from wattest.terminal import Console


@dataclass(frozen=True)
class SessionOptions:
    """What the command line says about this machine and this session.

    `sys_root` stands for /sys; `allow_missing` names `cpu` and `gpu` where a sensor that exists may
    go unread, knowingly; `wait_seconds` is how long to wait for another session's counters.
    """

    results_folder: Path
    sys_root: Path
    launcher: Launcher
    require_energy: bool
    allow_missing: frozenset[str]
    wait_seconds: float


class Session:
    """Everything that experiments share: open with its creation, until :meth:`close`.

    It has proven that results can be written and sensors read, before anything runs.

    Raises:
        WattestError: one line for every reason why not.
    """

    def __init__(self, campaign: Campaign, options: SessionOptions, console: Console) -> None:
        self._campaign = campaign
        self._options = options
        self._console = console
        folder.prepare(options.results_folder)
        self._sensors = find_sensors(options.sys_root, allow_missing=options.allow_missing)
        self._closing = ExitStack()
        self._closing.callback(self._sensors.close)
        if options.require_energy and not self._sensors.promised():
            self.close()
            told = self._sensors.describe()
            raise EnergyError(f"--require-energy: no energy can be measured: {told}")
        self._board = ProgressBoard(console)
        host = slug(socket.gethostname())
        self._session_id = f"{datetime.now():%Y%m%d_%H%M%S}_{host}_{os.getpid()}"
        self._folder = options.results_folder / "sessions" / self._session_id
        self._signals = OrderlySignals()
        self._has_counters = False
        self._recorder: Recorder | None = None

    def header(self) -> list[str]:
        """Return what the session's header says about the machine and its sensors."""
        host = facts.host(self._options.sys_root)
        return [
            f"machine: {host['cpu_model']}, {host['cpu_count']} CPUs, kernel {host['kernel']};"
            f" process trees held by {self._options.launcher.rung.value}{self._runner()}",
            f"sensors: {self._sensors.describe()}",
            *filter(None, [self._sensors.note()]),
            f"results: {self._options.results_folder}",
        ]

    def begin(
        self,
        selected: Sequence[Experiment],
        finished: Mapping[str, Finished],
        *,
        is_shard: bool = False,
    ) -> None:
        """Take the counters, write the plan, set the governor, look at the idle machine.

        `finished` is what earlier sessions finished, by the keys of the experiments; the CSV of a
        shard holds nothing but its own.

        Raises:
            WattestError: the counters are taken, or a file cannot be written.
        """
        plan = self._campaign.plan
        self._signals.install()
        self._closing.callback(self._signals.restore)
        for swept in sweep():
            self._console.warn(f"a dead session had left {swept}; ended it")
        self.take_counters()
        governor = set_governor(plan.settings.governor, self._options.sys_root, self._closing)
        if governor.status in ("denied", "unavailable"):
            self._console.warn(f"governor {governor.requested!r}: {governor.reason}")
        self._board.total = len(selected)
        preflight = Preflight(plan.settings, self._sensors)
        idle = IdleMachine(plan.settings, self._sensors, self._folder, self._console, preflight)
        idle.begin()
        environment = {**self._environment(), "governor": asdict(governor)}
        ids = {experiment.key: experiment.id for experiment in plan.experiments}
        self._recorder = Recorder(
            results=self._options.results_folder,
            context=Context(
                self._session_id,
                plan,
                self._campaign.registry.file,
                environment,
                self._software(),
            ),
            console=self._console,
            board=self._board,
            preflight=preflight,
            idle=idle,
            table=self._leave_files(
                environment, [] if is_shard else [one.row for one in finished.values()]
            ),
            known={ids[key]: one.path for key, one in finished.items()},
            publish=lambda told: None,
            is_continued=self._campaign.is_stored or is_shard,
        )

    def take_counters(self) -> None:
        """Take the counters for this session, unless it has them; wait for them if so asked.

        Raises:
            LeaseError: another session holds them.
        """
        if not self._has_counters:
            counters = counters_of(self._sensors.findings, self._options.sys_root)
            held = take(counters, self._options.wait_seconds, self._console.warn)
            self._closing.callback(held.close)
            self._has_counters = True

    def foreground(self) -> Foreground:
        """Return what runs foreground trainings."""
        return Foreground(self._console, self._sensors, self._options.launcher, self._board.watcher)

    def background_load(self) -> BackgroundLoad:
        """Return what runs background loads; close it at the end."""
        launcher, gpu_state = self._options.launcher, self._sensors.gpu_state
        return BackgroundLoad(self._console, launcher, self._signals, gpu_state)

    def recorder(self, publish: Callable[[Headline], None]) -> Recorder:
        """Return what leaves the records; `publish` gets each record's headline."""
        if self._recorder is None:
            raise WattestError("the session has not begun: nothing was selected")
        return replace(self._recorder, publish=publish)

    def close(self) -> None:
        """Restore the governor, let go of the counters and of the sensors."""
        self._closing.close()

    def _runner(self) -> str:
        user = self._options.launcher.run_as
        return f", trainings run as {user_name(user[0])}" if user else ""

    def _environment(self) -> dict[str, Any]:
        experiments = self._campaign.plan.experiments
        programs = {
            one.program.name: one.program.folder for each in experiments for one in each.trainings
        }
        return {
            **facts.environment(programs, self._options.sys_root),
            "gpus": self._sensors.hardware(),
            "supervision": self._options.launcher.rung.value,
            "scheduler": None if (job := Job.here()) is None else job.facts(),
        }

    def _software(self) -> dict[str, Versions]:
        """Return the versions of what trains, by program; every interpreter is asked once."""
        launcher, asked, found = self._options.launcher, dict[Path, Versions](), {}
        for training in (one.foreground for one in self._campaign.plan.experiments):
            python = interpreter_of(training.program)
            if python not in asked:
                environment = launcher.command(training).environment
                asked[python] = versions_of(python, environment, launcher.run_as)
            found[training.program.name] = asked[python]
        return found

    def _leave_files(self, environment: Mapping[str, Any], rows: Sequence[Row]) -> Table:
        """Write plan, environment, and the CSV with the rows of what is finished already."""
        plan, told = self._campaign.plan, json_text(environment)
        try:
            store.store(self._options.results_folder, plan, self._folder)
            make_folder(self._folder)
            write_atomically(self._folder / "environment.json", told)
            return Table(self._folder / "experiments.csv", plan, rows)
        except OSError as error:
            where = error.filename or self._options.results_folder
            raise RecordError(f"{where} cannot be written: {error.strerror}") from None
