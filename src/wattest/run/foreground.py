"""The foreground: a training in its own process tree, under the meter, tried until it counts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from wattest.energy import Measurement, Sensors, Snapshot, Window
from wattest.errors import EnergyError, LoadError, ProcessError, SpawnError
from wattest.files import make_folder
from wattest.interrupts import interruptions_held
from wattest.plan.experiment import Experiment
from wattest.process import Command, Tree, ending
from wattest.run.activeload import ActiveLoad
from wattest.run.command import Launcher
from wattest.run.log import last_lines
from wattest.run.marks import LOOK_NS, MarkReader
from wattest.run.metrics import read_metrics
from wattest.run.outcome import Attempt, Outcome
from wattest.run.verdict import judge
from wattest.terminal import Console, shown

_PROGRESS_NS = 1_000_000_000
# The supervisor ends what is out of time so much later, should a driver or a terminal hold us up.
_HELD_UP_SECONDS = 1.0
Progress = Callable[[float, Snapshot, MarkReader | None], None]
ProgressOf = Callable[[Experiment, ActiveLoad], Progress | None]


class Foreground:
    """Runs foreground trainings, one at a time, each under the session's meter."""

    def __init__(
        self, console: Console, sensors: Sensors, launcher: Launcher, progress_of: ProgressOf
    ) -> None:
        self._console = console
        self._sensors = sensors
        self._launcher = launcher
        self._progress_of = progress_of

    def train(self, experiment: Experiment, outcome: Outcome, load: ActiveLoad) -> None:
        """Train until an attempt counts or the retries are used up; add every attempt to `outcome`.

        Where the load is alone nothing is trained: it is measured.

        An interruption leaves the interrupted attempt in `outcome` and goes on its way.
        """
        for number in range(1, experiment.limits.max_retries + 2):
            attempt = self._attempt(experiment, outcome, load)
            self._say_end(attempt)
            if not (attempt.faults and attempt.worth_repeating) or outcome.trouble:
                return
            if number <= experiment.limits.max_retries:
                self._console.warn(f"attempt {number} failed: {attempt.faults[0]}; trying again")
                outcome.files.set_aside(attempt)

    def _attempt(self, experiment: Experiment, outcome: Outcome, load: ActiveLoad) -> Attempt:
        limits, files = experiment.limits, outcome.files
        alone = outcome.load_alone
        trained = experiment.foreground if alone is None else experiment.backgrounds[0]
        command = self._launcher.command(trained, limits.gpu_memory_limit_mb)
        attempt = Attempt(
            number=len(outcome.attempts) + 1,
            argv=command.argv,
            timeout_seconds=limits.timeout_seconds,
            log=files.log,
            energy_folder=files.energy_folder,
            started_at=datetime.now().isoformat(timespec="milliseconds"),
            estimate_cpus=self._sensors.part.estimate_cpus,
        )
        progress = self._progress_of(experiment, load)
        self._announce(command, outcome)
        try:
            if alone is None:
                pattern = trained.program.progress
                attempt.marks = None if pattern is None else MarkReader(files.log, pattern)
                self._run(command, attempt, load, progress)
            else:
                self._measure_load(alone.seconds, attempt, load, progress)
        except EnergyError as error:
            attempt.faults.append(f"its energy could not be measured: {error}")
        except LoadError as error:
            attempt.trouble = str(error)
        except KeyboardInterrupt:
            # One that comes after the training's end takes nothing from it.
            attempt.interrupted = attempt.exit is None
            raise
        finally:
            with interruptions_held():
                patterns = trained.program.log_patterns if alone is None else {}
                attempt.metrics = read_metrics(files.log, patterns)
                _conclude(attempt, outcome, load)
        return attempt

    def _announce(self, command: Command, outcome: Outcome) -> None:
        files, alone = outcome.files, outcome.load_alone
        if alone is None:
            self._console.step("command", " ".join(command.argv))
            self._console.step("in", shown(command.cwd))
            self._console.step("log", shown(files.log))
        else:
            self._console.step("measuring", f"the load alone for {alone.seconds:.1f} s")
        self._console.step("traces", f"{shown(files.energy_folder)}/")

    def _run(
        self, command: Command, attempt: Attempt, load: ActiveLoad, progress: Progress | None
    ) -> None:
        """Run the training between two edges; everything slow lies outside of them."""
        try:
            tree = self._launcher.tree(command, attempt.log)
        except ProcessError as error:
            attempt.trouble = str(error)
            return
        with tree, self._measured(attempt, load) as window:
            try:
                attempt.pid = tree.start(attempt.timeout_seconds + _HELD_UP_SECONDS)
                self._console.detail("training", f"PID {attempt.pid}")
                _watch(tree, window, attempt, load, progress)
            except SpawnError as error:
                attempt.trouble = f"training could not be started: {error}"
            except ProcessError as error:
                attempt.trouble = str(error)

    def _measure_load(
        self, seconds: float, attempt: Attempt, load: ActiveLoad, progress: Progress | None
    ) -> None:
        """Let the load run alone between two edges."""
        with self._measured(attempt, load) as window:
            attempt.pid = load.loops[0].pid
            _watch_load(seconds, window, attempt, load, progress)

    @contextmanager
    def _measured(self, attempt: Attempt, load: ActiveLoad) -> Iterator[Window]:
        """Yield a window over the block; load and GPUs are looked at outside of its edges.

        Raises:
            EnergyError: it cannot be opened.
            LoadError: the load does not answer.
        """
        load.open_window()
        self._look_at_gpus(attempt, load)
        own_began = time.process_time()
        try:
            make_folder(attempt.energy_folder)
            window = self._sensors.open_window(attempt.energy_folder)
        except OSError as error:
            raise EnergyError(str(error)) from error
        try:
            yield window
        finally:
            with interruptions_held():
                ended_ns = attempt.exit.ended_ns if attempt.exit else None
                attempt.measurement = window.close(ended_ns)
                attempt.harness_cpu_seconds = time.process_time() - own_began
                _read_last_marks(attempt, attempt.measurement)
                self._look_at_gpus(attempt, load)
                _close_window(attempt, load)

    def _look_at_gpus(self, attempt: Attempt, load: ActiveLoad) -> None:
        """Note who is on the GPUs at an edge, outside of the window."""
        if attempt.trouble is None:
            attempt.own_pids |= {os.getpid(), *load.pids()}
            try:
                for pid, uuid in self._sensors.gpu_processes().items():
                    if Path(f"/proc/{pid}").exists():
                        attempt.gpu_processes[pid] = uuid
                    else:  # it has just ended, or is hidden from us: it may be anybody
                        attempt.unseen.append(f"whose PID {pid} on {uuid} is, is not known")
            except EnergyError as error:
                attempt.unseen.append(f"who is on the GPUs is not known: {error}")

    def _say_end(self, attempt: Attempt) -> None:
        if attempt.half is not None and attempt.trouble is None:
            how = "was measured"
        elif attempt.exit is None:
            how = "was not started" if attempt.pid is None else "was stopped"
        else:
            how = ending(attempt.exit.status)
        seconds = attempt.duration_seconds
        what = "training" if attempt.half is None else "load alone"
        self._console.step(what, how if seconds is None else f"{how} after {seconds:.2f} s")
        for flag in attempt.flags:
            self._console.warn(flag)


def _name_neighbours(attempt: Attempt, outcome: Outcome) -> None:
    """Say who else trained in the window: then the CPU's energy is not this training's alone."""
    window = attempt.measurement
    if window is None or outcome.span is None:
        return
    attempt.neighbours = outcome.span.neighbours(window.opened_ns, window.closed_ns)
    if attempt.neighbours:
        told = ", ".join(f"{one.experiment_id} ({one.seconds:.1f} s)" for one in attempt.neighbours)
        attempt.measurement = window.shared(f"the same counters count other trainings too: {told}")


def _watch(
    tree: Tree, window: Window, attempt: Attempt, load: ActiveLoad, progress: Progress | None
) -> None:
    """Sample until the training is gone, is out of time, or its load is no load any more."""
    opened_ns = time.monotonic_ns()
    deadline_ns = opened_ns + int(attempt.timeout_seconds * 1e9)
    progress_ns = _next_on_grid(window, opened_ns, _PROGRESS_NS)
    period_ns, loads = _period_ns(attempt, load), load.filenos()
    while True:
        # Polled before each wait: news that came with an earlier answer wakes nobody.
        attempt.exit = tree.poll()
        if attempt.exit is not None:
            attempt.timed_out = attempt.exit.ended_ns >= deadline_ns
            return
        now_ns = time.monotonic_ns()
        if now_ns >= deadline_ns:
            attempt.timed_out = True
            tree.stop()
            attempt.exit = tree.poll()
            return
        attempt.trouble = load.watch()
        if attempt.trouble is not None:
            tree.stop()
            return
        if attempt.marks is not None:
            attempt.marks.look(now_ns, window.read)
        if now_ns >= progress_ns:
            progress_ns = _next_on_grid(window, now_ns, _PROGRESS_NS)
            if progress is not None:
                progress((now_ns - opened_ns) / 1e9, window.latest(), attempt.marks)
        wake_ns = min(deadline_ns, _next_on_grid(window, now_ns, period_ns))
        window.wait([*tree.filenos(), *loads], until_ns=wake_ns)


def _watch_load(
    seconds: float, window: Window, attempt: Attempt, load: ActiveLoad, progress: Progress | None
) -> None:
    """Sample for so long, or until the load is no load any more."""
    opened_ns = time.monotonic_ns()
    middle_ns, end_ns = (opened_ns + int(share * seconds * 1e9) for share in (0.5, 1.0))
    progress_ns = _next_on_grid(window, opened_ns, _PROGRESS_NS)
    period_ns = _period_ns(attempt, load)
    while (now_ns := time.monotonic_ns()) < end_ns and attempt.trouble is None:
        if attempt.half is None and now_ns >= middle_ns:
            attempt.half = window.read()
        if now_ns >= progress_ns:
            progress_ns = _next_on_grid(window, now_ns, _PROGRESS_NS)
            if progress is not None:
                progress((now_ns - opened_ns) / 1e9, window.latest(), None)
        due_ns = end_ns if attempt.half else middle_ns
        wake_ns = min(due_ns, _next_on_grid(window, now_ns, period_ns))
        window.wait(load.filenos(), until_ns=wake_ns)
        attempt.trouble = load.watch()


def _period_ns(attempt: Attempt, load: ActiveLoad) -> int:
    """Return how often to wake: to look at logs, or where none has marks for progress alone."""
    has_marks = attempt.marks is not None or any(one.marks for one in load.loops)
    return LOOK_NS if has_marks else _PROGRESS_NS


def _next_on_grid(window: Window, now_ns: int, period_ns: int) -> int:
    """Return the next whole period of a window: with a sample, so that one wake serves all."""
    return window.opened_ns + ((now_ns - window.opened_ns) // period_ns + 1) * period_ns


def _read_last_marks(attempt: Attempt, measured: Measurement) -> None:
    """Read what the training said at last; by then the whole window had been counted."""
    if attempt.marks is not None:
        energy = attempt.energy_metrics()
        whole = Snapshot(
            measured.duration_seconds,
            cpu_joules=energy["cpu_energy_total_joules"],
            gpu_joules=energy["gpu_energy_total_joules"],
        )
        ended_ns = attempt.exit.ended_ns if attempt.exit else measured.closed_ns
        attempt.marks.look(ended_ns, lambda: whole, is_last=True)


def _conclude(attempt: Attempt, outcome: Outcome, load: ActiveLoad) -> None:
    """Judge an attempt whose metrics are read, and keep it."""
    if attempt.marks is not None:
        attempt.marks.close()
    _name_neighbours(attempt, outcome)
    judge(attempt, load)
    attempt.last_lines = last_lines(attempt.log) if attempt.faults else []
    outcome.attempts.append(attempt)
    outcome.trouble = attempt.trouble


def _close_window(attempt: Attempt, load: ActiveLoad) -> None:
    """Read the load at the closing edge; one that does not answer any more was none."""
    measured = attempt.measurement
    edges = (measured.opened_ns, measured.closed_ns) if measured else None
    try:
        load.close_window(edges)
    except LoadError as error:
        attempt.trouble = attempt.trouble or str(error)
    windows = [one.window for one in load.loops if one.window]
    attempt.load_cpu_seconds = sum((one.cpu_seconds for one in windows), 0.0)
