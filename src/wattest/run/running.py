"""What one background loop did, for the record and for the person who asks why it failed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.errors import ProcessError
from wattest.plan.experiment import Training
from wattest.process import Loop, LoopStatus, StopReport
from wattest.run.log import last_lines

NOTE = "Background training served as GPU load only, not monitored"


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


@dataclass(eq=False)
class RunningLoad:
    """One background loop with what is known of it."""

    training: Training
    argv: tuple[str, ...]
    folder: Path
    loop: Loop
    pid: int = 0
    last_status: LoopStatus | None = None
    report: LoadReport | None = None
    stop: StopReport | None = None
    proof: dict[str, Any] | None = None
    waited: tuple[int, float] | None = None
    """When an idle loop was last looked at (monotonic ns), and its run delay in seconds then."""


def window_report(before: LoopStatus, after: LoopStatus) -> LoadReport:
    """Return what a loop did between two states of it."""
    return LoadReport(
        alive_share=alive_share(before, after),
        cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        runs_completed=after.runs_completed - before.runs_completed,
        restarts=after.runs_started - before.runs_started,
        failures=after.failures - before.failures,
    )


def alive_share(before: LoopStatus, after: LoopStatus) -> float:
    """Return the share of the time between two states (0 to 1) in which a run was alive."""
    window_ns = max(after.now_ns - before.now_ns, 1)
    return min(1.0, (after.alive_ns - before.alive_ns) / window_ns)


def is_stopped(pids: Sequence[int], some: bool) -> bool:
    """Tell whether all processes (with `some`: any) are stopped by a signal or a tracer."""
    stopped = [
        text.rpartition(")")[2].split()[0] in "Tt" for pid in pids for text in _read(pid, "stat")
    ]
    return any(stopped) if some else bool(stopped) and all(stopped)


def run_delay_seconds(pids: Sequence[int]) -> float:
    """Return how long all threads together have been ready to run and waited for a CPU.

    It is the second field of /proc/PID/task/TID/schedstat; 0 where the kernel keeps none.
    """
    texts = [text for pid in pids for text in _read(pid, "task/*/schedstat")]
    return sum(int(text.split()[1]) for text in texts) / 1e9


def _read(pid: int, pattern: str) -> list[str]:
    """Return the files of a process that match and are still there."""
    found = []
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{pid}").glob(pattern):
            with contextlib.suppress(OSError):
                found.append(path.read_text(encoding="utf-8", errors="replace"))
    return found


def explain_failure(one: RunningLoad, what: str) -> str:
    """Return what went wrong with a load: exit codes, and the last lines of its newest log."""
    log = newest_log(one.folder)
    lines = last_lines(log) if log else []
    tail = "\n".join(f"    {line}" for line in lines) or "    (no output)"
    told = f"{what}{_exit_codes(one)}; its last lines ({log}):"
    return f"{called(one.training)} {told}\n{tail}"


def _exit_codes(one: RunningLoad) -> str:
    """Return how the runs of a load have ended so far; nothing where the loop does not answer."""
    try:
        codes = one.loop.status().exit_codes
    except ProcessError:
        return ""
    told = [f"{code} ({'once' if n == 1 else f'{n} times'})" for code, n in codes.items()]
    return f"; exit codes so far: {', '.join(told)}" if told else ""


def newest_log(folder: Path) -> Path | None:
    """Return the log of the latest run; None before the first."""
    logs = [log for log in folder.glob("run_*.log") if log.stem[4:].isdecimal()]
    return max(logs, key=lambda log: int(log.stem[4:]), default=None)


def name_of(training: Training) -> str:
    """Return the name of a load: its repository and model."""
    return f"{training.program.name}/{training.model}"


def called(training: Training) -> str:
    """Return what a load is called where something went wrong with it."""
    return f"background load {name_of(training)}"


def describe(one: RunningLoad) -> dict[str, Any]:
    """Return `background_info` of one loop."""
    training = one.training
    info: dict[str, Any] = {
        "repo": training.program.name,
        "model": training.model,
        "hyperparameters": dict(training.hyperparameters),
        "ignored_hyperparameters": dict(training.ignored),
        "note": NOTE,
        "command": list(one.argv),
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
    if one.proof is not None:
        info["start"] = one.proof
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
