"""The background load: started, proven alive, watched through the window, stopped with proof."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.attempt import Outcome
from wattest.console import Console, shown
from wattest.energy import GpuState
from wattest.errors import LoadError, ProcessError
from wattest.identity import slug
from wattest.loadreport import (
    RunningLoad,
    alive_share,
    describe,
    explain_failure,
    name_of,
    newest_log,
    window_report,
)
from wattest.plan import Experiment, Training
from wattest.process import Loop, LoopStatus, Rung
from wattest.signals import OrderlySignals
from wattest.training import command_of, last_lines
from wattest.warmup import warm_up

# A load that is up for less than this share of the window was not the load of the label.
MINIMUM_DUTY = 0.9
# Below this share of one core, over a window long enough to tell, a load is hardly one.
IDLE_CPU_SHARE = 0.01
IDLE_WINDOW_SECONDS = 1.0
# A shorter time than this says nothing of the share in which a load is alive.
LEAST_JUDGED_SECONDS = 2.0
# A load whose ready_pattern has not appeared after so long will not become ready.
READY_LIMIT_SECONDS = 300.0
LOAD_THRESHOLDS = {
    "load_alive_share_min": MINIMUM_DUTY,
    "load_idle_cpu_share_flag": IDLE_CPU_SHARE,
    "load_idle_window_seconds": IDLE_WINDOW_SECONDS,
    "load_ready_limit_seconds": READY_LIMIT_SECONDS,
}
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class LoadEdge:
    """The cumulative state of every background loop at one edge of a window."""

    statuses: tuple[LoopStatus, ...]


class ActiveLoad:
    """The background loops of one experiment while they run."""

    def __init__(self, running: list[RunningLoad]) -> None:
        self._running = running

    def filenos(self) -> list[int]:
        """Return descriptors that become readable when a loop has news."""
        return [one.loop.fileno() for one in self._running]

    def pids(self) -> set[int]:
        """Return all live processes of all loops."""
        return {pid for one in self._running for pid in one.loop.pids()}

    def current_run(self) -> int | None:
        """Return the number of the first loop's present run; None where it does not answer."""
        try:
            return self._running[0].loop.status().current_run if self._running else None
        except ProcessError:
            return None

    def check(self) -> str | None:
        """Return why the load is no load any more, with its last lines; None while all is well."""
        for one in self._running:
            try:
                news = one.loop.poll()
            except ProcessError as error:
                return f"background load {name_of(one.training)}: {error}"
            if news is not None and news.ineffective:
                return explain_failure(one, str(news))
        return None

    def edge(self) -> LoadEdge:
        """Read the cumulative state of every loop.

        Raises:
            LoadError: a loop does not answer any more.
        """
        try:
            return LoadEdge(tuple(one.loop.status() for one in self._running))
        except ProcessError as error:
            raise LoadError(f"background load does not answer: {error}") from error

    def falls_short(self, opened: LoadEdge) -> str | None:
        """Return why the load is none any more: too seldom alive since the window was opened."""
        try:
            statuses = self.edge().statuses
        except LoadError as error:
            return str(error)
        for one, before, now in zip(self._running, opened.statuses, statuses, strict=True):
            seconds = (now.now_ns - before.now_ns) / 1e9
            share = alive_share(before, now)
            if seconds >= LEAST_JUDGED_SECONDS and share < MINIMUM_DUTY:
                text = f"was alive for only {share:.1%} of the first {seconds:.0f} s"
                return explain_failure(one, text)
        return None

    def judge(self, opened: LoadEdge, closed: LoadEdge) -> tuple[list[str], list[str]]:
        """Keep a report of the window and return (faults, flags) in words."""
        faults: list[str] = []
        flags: list[str] = []
        for one, before, after in zip(self._running, opened.statuses, closed.statuses, strict=True):
            one.report = report = window_report(before, after, one.loop.pids())
            name = f"background load {name_of(one.training)}"
            window_seconds = (after.now_ns - before.now_ns) / 1e9
            if report.alive_share < MINIMUM_DUTY:
                share = f"{report.alive_share:.1%} of the window (below {MINIMUM_DUTY:.0%})"
                faults.append(explain_failure(one, f"was alive for {share}"))
            elif report.stopped:
                faults.append(f"{name} was stopped (state T): it loaded nothing")
            elif (
                window_seconds >= IDLE_WINDOW_SECONDS
                and report.cpu_seconds < IDLE_CPU_SHARE * window_seconds
            ):
                used = f"{report.cpu_seconds:.2f} s of CPU in {window_seconds:.1f} s"
                flags.append(f"{name} used only {used}: it hardly was a load")
        return faults, flags

    def cpu_seconds(self, opened: LoadEdge, closed: LoadEdge) -> float:
        """Return the CPU time of all loops between two edges, in seconds."""
        pairs = zip(opened.statuses, closed.statuses, strict=True)
        return sum(after.cpu_seconds - before.cpu_seconds for before, after in pairs)

    def describe(self) -> list[dict[str, Any]]:
        """Return `background_info` for every loop, in the order of the settings."""
        return [describe(one) for one in self._running]


class BackgroundLoad:
    """Starts and stops the background load of each experiment; nothing outlives `close`."""

    def __init__(
        self,
        console: Console,
        rung: Rung,
        owners: Sequence[int] = (),
        run_as: tuple[int, int] | None = None,
        signals: OrderlySignals | None = None,
        gpu_state: Callable[[], Sequence[GpuState]] = tuple,
    ) -> None:
        self._console = console
        self._rung = rung
        self._owners = tuple(owners)
        self._run_as = run_as
        self._signals = signals or OrderlySignals()
        self._gpu_state = gpu_state
        self._open: list[Loop] = []

    @contextmanager
    def running(self, experiment: Experiment, outcome: Outcome) -> Iterator[ActiveLoad | None]:
        """Run the background of `experiment`, noted in `outcome`; stop it on the way out.

        Yields None for an experiment without a background.

        Raises:
            LoadError: it could not be started, or died in its start-up time; with its last lines.
        """
        if not experiment.backgrounds:
            yield None
            return
        folder = outcome.files.background_folder
        running: list[RunningLoad] = []
        load = outcome.load = ActiveLoad(running)
        with ExitStack() as stops:
            for number, training in enumerate(experiment.backgrounds, start=1):
                own = folder
                if len(experiment.backgrounds) > 1:
                    own = folder / f"{number}_{slug(training.model)}"
                limit = experiment.entry.gpu_memory_limit_mb
                running.append(self._start(training, own, limit))
                stops.callback(self._stop, running[-1])
            self._prove(experiment, running, load)
            yield load

    def close(self) -> None:
        """Stop whatever is still open: the last net under the per-experiment stop."""
        while self._open:
            self._open.pop().stop(grace_seconds=0)

    def _start(self, training: Training, folder: Path, limit_mb: int | None) -> RunningLoad:
        folder.mkdir(parents=True, exist_ok=True)
        command = command_of(training, limit_mb, self._run_as)
        try:
            loop = Loop(command, folder, rung=self._rung, owners=self._owners)
        except ProcessError as error:
            raise LoadError(f"background load {name_of(training)}: {error}") from error
        self._open.append(loop)
        one = RunningLoad(training, folder, loop)
        try:
            one.pid = loop.start()
        except ProcessError as error:
            self._stop(one)
            raise LoadError(f"background load {name_of(training)}: {error}") from error
        self._console.step("load", f"{name_of(training)}, PID {one.pid}, logs in {shown(folder)}/")
        self._console.detail("command", " ".join(command.argv))
        return one

    def _prove(self, experiment: Experiment, running: list[RunningLoad], load: ActiveLoad) -> None:
        """Let the start-up time pass while watching; then every loop must be alive and ready."""
        began = time.monotonic()
        startup_seconds = experiment.entry.startup_seconds
        ready = dict(zip(running, experiment.entry.backgrounds, strict=True))
        while True:
            _require_alive(load)
            waited = time.monotonic() - began
            late = [one for one, asked in ready.items() if not _is_ready(one, asked.ready_pattern)]
            if waited >= startup_seconds and not late:
                break
            if waited >= max(startup_seconds, READY_LIMIT_SECONDS):
                raise LoadError(explain_failure(late[0], f"is not ready after {waited:.0f} s"))
            left = startup_seconds - waited
            time.sleep(min(left, _POLL_SECONDS) if left > 0 else _POLL_SECONDS)
        warmth = warm_up(self._gpu_state, lambda: _require_alive(load))
        for one, status in zip(running, load.edge().statuses, strict=True):
            share = status.alive_ns / max(status.now_ns - status.started_ns, 1)
            failing = status.failures and not status.runs_completed
            if share < MINIMUM_DUTY and (failing or waited >= LEAST_JUDGED_SECONDS):
                text = f"was alive for only {share:.1%} of its start-up time"
                raise LoadError(explain_failure(one, text))
            one.proof = {
                "waited_seconds": waited,
                "alive_share": min(1.0, share),
                "cpu_seconds": status.cpu_seconds,
                "run": status.current_run,
                "gpu_warm_up": warmth,
                "ready_pattern_matched": ready[one].ready_pattern is not None or None,
            }
            used = f"alive, {status.cpu_seconds:.1f} s of CPU in its first {waited:.1f} s"
            self._console.step("load", f"{name_of(one.training)} is {used}")

    def _stop(self, one: RunningLoad) -> None:
        try:
            one.last_status = one.loop.status()
        except ProcessError:
            one.last_status = None
        try:
            with self._signals.patience() as grace_seconds:
                one.stop = one.loop.stop(grace_seconds)
        except KeyboardInterrupt:
            one.stop = one.loop.stop(grace_seconds=0)
            raise
        finally:
            self._say_stop(one)

    def _say_stop(self, one: RunningLoad) -> None:
        if one.stop is None:
            return
        if one.loop in self._open:
            self._open.remove(one.loop)
        how = "killed" if one.stop.sigkill_needed else "stopped"
        left = f", {len(one.stop.survivors)} LEFT" if one.stop.survivors else ", nothing left"
        self._console.step(
            "load", f"{name_of(one.training)} {how} in {one.stop.duration_seconds:.2f} s{left}"
        )


def _require_alive(load: ActiveLoad) -> None:
    if (trouble := load.check()) is not None:
        raise LoadError(trouble)


def _is_ready(one: RunningLoad, pattern: re.Pattern[str] | None) -> bool:
    """Tell whether the load's newest log shows the pattern; without one it is ready at once."""
    if pattern is None:
        return True
    log = newest_log(one.folder)
    return log is not None and pattern.search("\n".join(last_lines(log, 1000))) is not None
