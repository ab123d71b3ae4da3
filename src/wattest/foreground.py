"""The foreground: a training in its own process tree, under the meter, tried until it counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from wattest.attempt import (
    Attempt,
    CpuTimes,
    CpuUse,
    Outcome,
    cpu_flags,
    exit_faults,
    foreign_gpu_flags,
)
from wattest.console import Console
from wattest.energy import Measurement, Meter, Sensors, Snapshot, Window, estimate_energy
from wattest.errors import LoadError, ProcessError, SpawnError
from wattest.load import ActiveLoad, LoadEdge
from wattest.plan import Experiment
from wattest.process import Command, Exit, Rung, Tree
from wattest.training import Metrics, command_of, last_lines, read_metrics

_PROGRESS_NS = 1_000_000_000
Progress = Callable[[float, Snapshot], None]


@dataclass
class _Run:
    """What becomes known while one attempt runs."""

    exit: Exit | None = None
    pid: int | None = None
    timed_out: bool = False
    interrupted: bool = False
    trouble: str | None = None
    measurement: Measurement | None = None
    opened: CpuTimes | None = None
    closed: CpuTimes | None = None
    load_opened: LoadEdge | None = None
    load_closed: LoadEdge | None = None


class Foreground:
    """Runs foreground trainings, one at a time, each under the session's meter."""

    def __init__(
        self,
        console: Console,
        sensors: Sensors,
        rung: Rung,
        owners: Sequence[int] = (),
        proc_root: Path = Path("/proc"),
    ) -> None:
        self._console = console
        self._sensors = sensors
        self._rung = rung
        self._owners = tuple(owners)
        self._proc_root = proc_root

    def train(
        self,
        experiment: Experiment,
        outcome: Outcome,
        load: ActiveLoad | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Train until an attempt counts or the retries are used up; add every attempt to `outcome`.

        An interruption leaves the interrupted attempt in `outcome` and goes on its way.
        """
        for number in range(1, experiment.entry.max_retries + 2):
            attempt = self._attempt(experiment, outcome, number, load, progress)
            self._say_end(attempt)
            if attempt.valid or not attempt.worth_repeating or outcome.trouble:
                return
            if number <= experiment.entry.max_retries:
                self._console.warn(f"attempt {number} failed: {attempt.faults[0]}; trying again")
                log, energy = outcome.files.set_aside(number)
                outcome.attempts[-1] = replace(attempt, log=log, energy_folder=energy)

    def _attempt(
        self,
        experiment: Experiment,
        outcome: Outcome,
        number: int,
        load: ActiveLoad | None,
        progress: Progress | None,
    ) -> Attempt:
        command = command_of(experiment.foreground)
        files = outcome.files
        self._console.step("command", " ".join(command.argv))
        self._console.detail("folder", str(command.cwd))
        self._console.detail("log", str(files.log))
        self._console.detail("energy", f"{files.energy_folder}/")
        run = _Run()
        started_at = datetime.now().isoformat(timespec="milliseconds")
        gpu_processes = [self._sensors.gpu_processes()]
        own = load.pids() if load else set()
        try:
            self._run(experiment, command, files.log, files.energy_folder, load, run, progress)
        except KeyboardInterrupt:
            run.interrupted = True
            raise
        finally:
            gpu_processes.append(self._sensors.gpu_processes())
            own |= load.pids() if load else set()
            metrics = read_metrics(files.log, experiment.foreground.program.log_patterns)
            faults, flags = _judge(run, metrics, load, experiment.entry.timeout_seconds)
            cpu = _cpu_use(run, load)
            flags += cpu_flags(cpu) if cpu else []
            flags += foreign_gpu_flags(gpu_processes, own | ({run.pid} if run.pid else set()))
            attempt = Attempt(
                number=number,
                argv=command.argv,
                pid=run.pid,
                started_at=started_at,
                exit=run.exit,
                timed_out=run.timed_out,
                interrupted=run.interrupted,
                duration_seconds=_duration(run),
                measurement=run.measurement,
                estimate=_estimate(run, cpu),
                cpu=cpu,
                metrics=metrics,
                faults=tuple(faults),
                flags=tuple(flags),
                log=files.log,
                energy_folder=files.energy_folder,
                last_lines=tuple(last_lines(files.log)) if faults else (),
            )
            outcome.attempts.append(attempt)
            outcome.trouble = run.trouble
        return attempt

    def _run(
        self,
        experiment: Experiment,
        command: Command,
        log: Path,
        energy_folder: Path,
        load: ActiveLoad | None,
        run: _Run,
        progress: Progress | None,
    ) -> None:
        """Run the training between two edges; everything slow lies outside of them."""
        meter: Meter = self._sensors.meter()
        try:
            tree = Tree(command, log, rung=self._rung, owners=self._owners)
        except ProcessError as error:
            run.trouble = str(error)
            return
        with tree:
            try:
                run.load_opened = load.edge() if load else None
            except LoadError as error:
                run.trouble = str(error)
                return
            run.opened = CpuTimes.read(self._proc_root)
            window = meter.open(energy_folder)
            try:
                run.pid = tree.start()
                self._console.detail("training", f"PID {run.pid}")
                self._watch(tree, window, load, run, experiment.entry.timeout_seconds, progress)
            except SpawnError as error:
                run.trouble = f"training could not be started: {error}"
            except ProcessError as error:
                run.trouble = str(error)
            finally:
                run.measurement = window.close(run.exit.ended_ns if run.exit else None)
                run.closed = CpuTimes.read(self._proc_root)
                if load and run.trouble is None:
                    run.load_closed = _edge_or_trouble(load, run)

    def _watch(
        self,
        tree: Tree,
        window: Window,
        load: ActiveLoad | None,
        run: _Run,
        timeout_seconds: float,
        progress: Progress | None,
    ) -> None:
        """Sample until the training is gone, is out of time, or its load is no load any more."""
        opened_ns = time.monotonic_ns()
        deadline_ns = opened_ns + int(timeout_seconds * 1e9)
        progress_ns = opened_ns + _PROGRESS_NS
        descriptors = [tree.fileno(), *(load.filenos() if load else [])]
        while True:
            window.wait(descriptors, until_ns=min(deadline_ns, progress_ns))
            run.exit = tree.poll()
            if run.exit is not None:
                return
            if load is not None and (trouble := load.check()) is not None:
                run.trouble = trouble
                tree.stop()
                return
            now_ns = time.monotonic_ns()
            if now_ns >= deadline_ns:
                run.timed_out = True
                tree.stop()
                run.exit = tree.poll()
                return
            if now_ns >= progress_ns:
                progress_ns = now_ns + _PROGRESS_NS
                if progress is not None:
                    progress((now_ns - opened_ns) / 1e9, window.latest())

    def _say_end(self, attempt: Attempt) -> None:
        if attempt.exit is None:
            how = "was not started" if attempt.pid is None else "was stopped"
        elif attempt.exit.signal is not None:
            how = f"ended by signal {attempt.exit.signal}"
        else:
            how = f"ended with exit code {attempt.exit.exit_code}"
        took = (
            "" if attempt.duration_seconds is None else f" after {attempt.duration_seconds:.2f} s"
        )
        self._console.step("training", f"{how}{took}")
        for flag in attempt.flags:
            self._console.warn(flag)


def _edge_or_trouble(load: ActiveLoad, run: _Run) -> LoadEdge | None:
    try:
        return load.edge()
    except LoadError as error:
        run.trouble = str(error)
        return None


def _judge(
    run: _Run, metrics: Metrics, load: ActiveLoad | None, timeout_seconds: float
) -> tuple[list[str], list[str]]:
    faults: list[str] = []
    flags: list[str] = []
    if run.trouble:
        faults.append(run.trouble)
    if run.interrupted:
        faults.append("interrupted before the training was done")
    elif run.timed_out:
        faults.append(f"timed out after {timeout_seconds:g} s (timeout_seconds)")
    elif run.exit is not None:
        faults += exit_faults(run.exit, metrics)
    if run.measurement is not None:
        faults += [str(reason) for reason in run.measurement.faults]
        flags += [str(reason) for reason in run.measurement.flags]
    if load and run.load_opened and run.load_closed:
        load_faults, load_flags = load.judge(run.load_opened, run.load_closed)
        faults += load_faults
        flags += load_flags
    if run.exit is not None and run.exit.leftovers_killed:
        flags.append(f"{run.exit.leftovers_killed} processes outlived the training and were killed")
    if metrics.found:
        flags += metrics.problems
    return faults, flags


def _cpu_use(run: _Run, load: ActiveLoad | None) -> CpuUse | None:
    if run.opened is None or run.closed is None:
        return None
    background = 0.0
    if load and run.load_opened and run.load_closed:
        background = load.cpu_seconds(run.load_opened, run.load_closed)
    end = run.exit
    return CpuUse(
        machine_busy_seconds=run.closed.busy_seconds - run.opened.busy_seconds,
        machine_total_seconds=run.closed.total_seconds - run.opened.total_seconds,
        foreground_seconds=end.user_cpu_seconds + end.system_cpu_seconds if end else 0.0,
        background_seconds=background,
        harness_seconds=run.closed.own_seconds - run.opened.own_seconds,
    )


def _duration(run: _Run) -> float | None:
    if run.exit is not None:
        return (run.exit.ended_ns - run.exit.started_ns) / 1e9
    return run.measurement.duration_seconds if run.measurement else None


def _estimate(run: _Run, cpu: CpuUse | None) -> dict[str, object] | None:
    """Estimate the CPU's energy where no counter could be read (and only there)."""
    if cpu is None or run.measurement is None:
        return None
    if run.measurement.energy_metrics()["cpu_energy_total_joules"] is not None:
        return None
    return estimate_energy(
        duration_seconds=run.measurement.duration_seconds,
        machine_busy_cpu_seconds=cpu.machine_busy_seconds,
        training_cpu_seconds=cpu.foreground_seconds,
    )
