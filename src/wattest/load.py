"""The background load: started, proven alive, watched through the window, stopped with proof."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.attempt import Outcome
from wattest.console import Console
from wattest.errors import LoadError, ProcessError
from wattest.plan import Experiment, Training, slug
from wattest.process import Loop, LoopStatus, Rung, StopReport
from wattest.training import command_of, last_lines

NOTE = "Background training served as GPU load only, not monitored"
# A load that is up for less than this share of the window was not the load of the label.
MINIMUM_DUTY = 0.9
# Below this share of one core, over a window long enough to tell, a load is hardly one.
IDLE_CPU_SHARE = 0.01
IDLE_WINDOW_SECONDS = 5.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class LoadEdge:
    """The cumulative state of every background loop at one edge of a window."""

    statuses: tuple[LoopStatus, ...]


@dataclass(frozen=True)
class LoadReport:
    """What one background loop did during the window.

    `alive_share` is the share of the window in which a run was alive (0 to 1); `cpu_seconds` is
    the CPU time of its whole tree during the window.
    """

    alive_share: float
    cpu_seconds: float
    runs_completed: int
    restarts: int
    failures: int
    stopped: bool
    status: LoopStatus


@dataclass
class _Running:
    training: Training
    folder: Path
    loop: Loop
    pid: int = 0
    last_status: LoopStatus | None = None
    report: LoadReport | None = None
    stop: StopReport | None = None


class ActiveLoad:
    """The background loops of one experiment while they run."""

    def __init__(self, running: list[_Running]) -> None:
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
                return f"background load {_name(one.training)}: {error}"
            if news is not None and news.ineffective:
                return _explain_failure(one, str(news))
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

    def judge(self, opened: LoadEdge, closed: LoadEdge) -> tuple[list[str], list[str]]:
        """Keep a report of the window and return (faults, flags) in words."""
        faults: list[str] = []
        flags: list[str] = []
        for one, before, after in zip(self._running, opened.statuses, closed.statuses, strict=True):
            one.report = report = _window_report(before, after, one.loop.pids())
            name = f"background load {_name(one.training)}"
            window_seconds = (after.now_ns - before.now_ns) / 1e9
            if report.alive_share < MINIMUM_DUTY:
                share = f"{report.alive_share:.1%} of the window (below {MINIMUM_DUTY:.0%})"
                faults.append(_explain_failure(one, f"was alive for {share}"))
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
        return [_info(one) for one in self._running]


class BackgroundLoad:
    """Starts and stops the background load of each experiment; nothing outlives `close`."""

    def __init__(
        self,
        console: Console,
        rung: Rung,
        owners: Sequence[int] = (),
        run_as: tuple[int, int] | None = None,
    ) -> None:
        self._console = console
        self._rung = rung
        self._owners = tuple(owners)
        self._run_as = run_as
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
        running: list[_Running] = []
        load = outcome.load = ActiveLoad(running)
        try:
            for number, training in enumerate(experiment.backgrounds, start=1):
                own = folder
                if len(experiment.backgrounds) > 1:
                    own = folder / f"{number}_{slug(training.model)}"
                limit = experiment.entry.gpu_memory_limit_mb
                running.append(self._start(training, own, limit))
            self._prove(running, load, experiment.entry.startup_seconds)
            yield load
        finally:
            for one in running:
                self._stop(one)

    def close(self) -> None:
        """Stop whatever is still open: the last net under the per-experiment stop."""
        while self._open:
            self._open.pop().stop(grace_seconds=0)

    def _start(self, training: Training, folder: Path, limit_mb: int | None) -> _Running:
        folder.mkdir(parents=True, exist_ok=True)
        command = command_of(training, limit_mb, self._run_as)
        try:
            loop = Loop(command, folder, rung=self._rung, owners=self._owners)
        except ProcessError as error:
            raise LoadError(f"background load {_name(training)}: {error}") from error
        self._open.append(loop)
        one = _Running(training, folder, loop)
        try:
            one.pid = loop.start()
        except ProcessError as error:
            self._stop(one)
            raise LoadError(f"background load {_name(training)}: {error}") from error
        self._console.step("load", f"{_name(training)}, PID {one.pid}, logs in {folder}/")
        self._console.detail("command", " ".join(command.argv))
        return one

    def _prove(self, running: list[_Running], load: ActiveLoad, startup_seconds: float) -> None:
        """Let the start-up time pass while watching, then prove every loop alive."""
        deadline = time.monotonic() + startup_seconds
        while running:
            trouble = load.check()
            if trouble is not None:
                raise LoadError(trouble)
            left = deadline - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(left, _POLL_SECONDS))
        for one, status in zip(running, load.edge().statuses, strict=True):
            share = status.alive_ns / max(status.now_ns - status.started_ns, 1)
            if status.failures and not status.runs_completed and share < MINIMUM_DUTY:
                raise LoadError(_explain_failure(one, "failed in its start-up time"))
            alive = f"alive {share:.0%}, run {status.current_run}"
            self._console.detail("proof", f"{alive}, {status.cpu_seconds:.1f} s of CPU so far")

    def _stop(self, one: _Running) -> None:
        try:
            one.last_status = one.loop.status()
        except ProcessError:
            one.last_status = None
        one.stop = one.loop.stop()
        if one.loop in self._open:
            self._open.remove(one.loop)
        how = "killed after 10 s" if one.stop.sigkill_needed else "stopped"
        left = f", {len(one.stop.survivors)} LEFT" if one.stop.survivors else ", nothing left"
        self._console.step(
            "load", f"{_name(one.training)} {how} in {one.stop.duration_seconds:.2f} s{left}"
        )


def _window_report(before: LoopStatus, after: LoopStatus, pids: Sequence[int]) -> LoadReport:
    window_ns = max(after.now_ns - before.now_ns, 1)
    return LoadReport(
        alive_share=min(1.0, (after.alive_ns - before.alive_ns) / window_ns),
        cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        runs_completed=after.runs_completed - before.runs_completed,
        restarts=after.runs_started - before.runs_started,
        failures=after.failures - before.failures,
        stopped=bool(pids) and all(_state(pid) in "Tt" for pid in pids),
        status=after,
    )


def _state(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "X"
    return stat.rpartition(")")[2].split()[0]


def _explain_failure(one: _Running, what: str) -> str:
    log = _newest_log(one.folder)
    lines = last_lines(log) if log else []
    tail = "\n".join(f"    {line}" for line in lines) or "    (no output)"
    return f"background load {_name(one.training)} {what}; its last lines ({log}):\n{tail}"


def _newest_log(folder: Path) -> Path | None:
    logs = [log for log in folder.glob("run_*.log") if log.stem[4:].isdecimal()]
    return max(logs, key=lambda log: int(log.stem[4:]), default=None)


def _name(training: Training) -> str:
    return f"{training.program.name}/{training.model}"


def _info(one: _Running) -> dict[str, Any]:
    training = one.training
    info: dict[str, Any] = {
        "repo": training.program.name,
        "model": training.model,
        "hyperparameters": dict(training.hyperparameters),
        "ignored_hyperparameters": dict(training.ignored),
        "note": NOTE,
        "command": list(command_of(training).argv),
        "log_folder": one.folder.name,
        "pid": one.pid or None,
    }
    status = one.last_status
    if status is not None:
        info |= {
            "runs_started": status.runs_started,
            "runs_completed": status.runs_completed,
            "restarts": max(0, status.runs_started - 1),
            "failures": status.failures,
            "exit_codes": dict(status.exit_codes),
            "restart_gap_median_seconds": _seconds(status.gap_median_ns),
            "restart_gap_longest_seconds": _seconds(status.gap_max_ns),
            "cpu_seconds": status.cpu_seconds,
        }
    if one.report is not None:
        info["window"] = {
            "alive_share": one.report.alive_share,
            "cpu_seconds": one.report.cpu_seconds,
            "runs_completed": one.report.runs_completed,
            "restarts": one.report.restarts,
            "failures": one.report.failures,
        }
    if one.stop is not None:
        info["stop"] = {
            "duration_seconds": one.stop.duration_seconds,
            "sigkill_needed": one.stop.sigkill_needed,
            "survivors": [survivor.pid for survivor in one.stop.survivors],
        }
    return info


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9
