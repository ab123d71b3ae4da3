"""One session on one machine: opened before anything runs, begun with what was selected, closed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wattest.energy import MachinePart, Sensors, find_sensors
from wattest.errors import EnergyError, RecordError, WattestError
from wattest.files import json_text, make_folder, user_name, write_atomically
from wattest.interrupts import OrderlySignals
from wattest.machine import GovernorState, Journal, facts, set_governor, take
from wattest.machine.counters import counters_of, names_of, shared_cpu
from wattest.machine.cpus import format_cpus
from wattest.machine.slurm import Job
from wattest.plan import store
from wattest.plan.experiment import Experiment
from wattest.plan.load import Campaign
from wattest.process import sweep
from wattest.records import Context, Finished, Headline, Row, Table, folder
from wattest.run import BackgroundLoad, Foreground, Launcher
from wattest.session.idle import IdleMachine
from wattest.session.member import Member, new_session_id
from wattest.session.preflight import Preflight
from wattest.session.progress import ProgressBoard
from wattest.session.recorder import Recorder
from wattest.terminal import Console


@dataclass(frozen=True)
class SessionOptions:
    """What the command line says about this machine and this session.

    `sys_root` stands for /sys; `allow_missing` names `cpu` and `gpu` where a sensor that exists may
    go unread, knowingly; `wait_seconds` is how long to wait for another session's counters.
    `cpu_energy` is ``exclusive``, ``shared`` or ``off``; `member` says which worker of how many
    this is, where there are several.
    """

    results_folder: Path
    sys_root: Path
    launcher: Launcher
    require_energy: bool
    allow_missing: frozenset[str]
    wait_seconds: float
    cpu_energy: str = "exclusive"
    member: Member | None = None


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
        self._closing = ExitStack()
        try:
            self._sensors = self._find_sensors()
        except BaseException:
            self.close()
            raise
        if options.require_energy and not self._sensors.promised():
            self.close()
            told = self._sensors.describe()
            raise EnergyError(f"--require-energy: no energy can be measured: {told}")
        self._board = ProgressBoard(console, is_one_of_several=options.member is not None)
        self.session_id = options.member.session_id if options.member else new_session_id()
        self._folder = options.results_folder / "sessions" / self.session_id
        if options.member:
            self._folder /= options.member.worker
        self._journal: Journal | None = None
        self._signals = OrderlySignals()
        self._has_counters = False
        self._recorder: Recorder | None = None

    def _find_sensors(self) -> Sensors:
        """Look for the sensors of the part of the machine that is ours, once we have it."""
        options, member = self._options, self._options.member
        if member is not None:
            self._closing.callback(member.seat.occupy().close)
        part = MachinePart(
            cpus=(member.seat.cpus or None) if member else None,
            package=member.seat.package if member else None,
            has_cpu_energy=options.cpu_energy != "off",
            shares_cpu=options.cpu_energy == "shared",
        )
        sensors = find_sensors(options.sys_root, allow_missing=options.allow_missing, part=part)
        self._closing.callback(sensors.close)
        return sensors

    def header(self) -> list[str]:
        """Return what the session's header says about the machine and its sensors."""
        host = facts.host(self._options.sys_root)
        return [
            f"machine: {host['cpu_model'] or 'unknown CPU'}, {host['cpu_count']} CPUs, kernel"
            f" {host['kernel']}; process trees held by {self._options.launcher.rung.value}"
            f"{self._runner()}",
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
        self._take_over()
        self.take_counters()
        governor = self._set_governor()
        self._board.total = len(selected)
        preflight = Preflight(plan.settings, self._sensors, self._sensors.part.cpus)
        idle = IdleMachine(plan.settings, self._sensors, self._folder, self._console, preflight)
        idle.begin()
        environment = {**self._environment(), "governor": asdict(governor)}
        ids = {experiment.key: experiment.id for experiment in plan.experiments}
        rows = [] if is_shard else [one.row for one in finished.values()]
        self._recorder = Recorder(
            results=self._options.results_folder,
            context=self._context(environment),
            console=self._console,
            board=self._board,
            preflight=preflight,
            folder=self._folder,
            idle=idle,
            table=self._leave_files(environment, rows),
            known={ids[key]: one.path for key, one in finished.items()},
            publish=lambda told: None,
            is_continued=self._campaign.is_stored or is_shard or bool(finished),
        )

    def _context(self, environment: dict[str, Any]) -> Context:
        plan, registry = self._campaign.plan, self._campaign.registry.file
        versions = self._options.launcher.versions(one.foreground for one in plan.experiments)
        return Context(self.session_id, plan, registry, environment, versions)

    def _take_over(self) -> None:
        """Take the signals, and end what dead sessions have left."""
        self._signals.install()
        self._closing.callback(self._signals.restore)
        for swept in sweep():
            self._console.warn(f"a dead session had left {swept}; ended it")

    def take_counters(self) -> None:
        """Take the counters for this session, unless it has them; wait for them if so asked.

        Raises:
            LeaseError: another session holds them.
        """
        if self._has_counters:
            return
        findings, options = self._sensors.findings, self._options
        is_shared = options.cpu_energy == "shared"
        if options.member is None:
            claims = counters_of(findings, options.sys_root, share_cpu=is_shared)
        else:
            # The seat holds what is this worker's alone.
            claims = shared_cpu(findings, options.sys_root) if is_shared else []
        held = take(claims, options.wait_seconds, self._console.warn)
        self._closing.callback(held.close)
        if is_shared:
            self._journal = Journal("/".join(self._folder.parts[-2:]), claims)
            self._closing.callback(self._journal.close)
        self._claims = claims
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
        return replace(self._recorder, publish=publish, journal=self._journal)

    def close(self) -> None:
        """Restore the governor, let go of the counters and of the sensors."""
        self._closing.close()

    def _set_governor(self) -> GovernorState:
        """Set the governor; the controller of several workers has done that for all of them."""
        wanted, member = self._campaign.plan.settings.governor, self._options.member
        if member is not None:
            state = member.governor
        else:
            state = set_governor(wanted, self._options.sys_root, self._closing)
        if state.status in ("denied", "unavailable"):
            self._console.warn(f"governor {state.requested!r}: {state.reason}")
        return state

    def _concurrency(self) -> dict[str, Any]:
        """Return what of the machine is this session's, and what it shares."""
        member = self._options.member
        seated = [one.reserve() for one in member.seat.counters()] if member else []
        return {
            "workers": member.workers if member else None,
            "worker": member.worker if member else None,
            "cpu_energy": self._options.cpu_energy,
            "own_counters": names_of([*seated, *(one for one in self._claims if not one.shared)]),
            "shared_counters": names_of(one for one in self._claims if one.shared),
            "cpus": format_cpus(os.sched_getaffinity(0)),
        }

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
            "concurrency": self._concurrency(),
            "scheduler": None if (job := Job.here()) is None else job.facts(),
        }

    def _leave_files(self, environment: Mapping[str, Any], rows: Sequence[Row]) -> Table | None:
        """Write plan, environment, and the CSV with the rows of what is finished already.

        Of several workers each writes what is its own; plan and CSV are their controller's.
        """
        plan, told = self._campaign.plan, json_text(environment)
        member, results = self._options.member, self._options.results_folder
        try:
            if member is None:
                store.store(results, plan, self._folder)
            make_folder(self._folder)
            write_atomically(self._folder / "environment.json", told)
            if member is not None:
                return None
            return Table(self._folder / "experiments.csv", plan, rows)
        except OSError as error:
            where = error.filename or results
            raise RecordError(f"{where} cannot be written: {error.strerror}") from None
