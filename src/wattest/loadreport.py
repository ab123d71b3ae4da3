"""What one background loop did, for the record and for the person who asks why it failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.plan import Training
from wattest.process import Loop, LoopStatus, StopReport
from wattest.training import command_of, last_lines

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
    stopped: bool


@dataclass(eq=False)
class RunningLoad:
    """One background loop with what is known of it."""

    training: Training
    folder: Path
    loop: Loop
    pid: int = 0
    last_status: LoopStatus | None = None
    report: LoadReport | None = None
    stop: StopReport | None = None
    proof: dict[str, Any] | None = None


def window_report(before: LoopStatus, after: LoopStatus, pids: Sequence[int]) -> LoadReport:
    """Return what a loop did between two states of it."""
    return LoadReport(
        alive_share=alive_share(before, after),
        cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        runs_completed=after.runs_completed - before.runs_completed,
        restarts=after.runs_started - before.runs_started,
        failures=after.failures - before.failures,
        stopped=bool(pids) and all(_state(pid) in "Tt" for pid in pids),
    )


def alive_share(before: LoopStatus, after: LoopStatus) -> float:
    """Return the share of the time between two states (0 to 1) in which a run was alive."""
    window_ns = max(after.now_ns - before.now_ns, 1)
    return min(1.0, (after.alive_ns - before.alive_ns) / window_ns)


def _state(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "X"
    return stat.rpartition(")")[2].split()[0]


def explain_failure(one: RunningLoad, what: str) -> str:
    """Return what went wrong with a load, with the last lines of its newest log."""
    log = newest_log(one.folder)
    lines = last_lines(log) if log else []
    tail = "\n".join(f"    {line}" for line in lines) or "    (no output)"
    return f"background load {name_of(one.training)} {what}; its last lines ({log}):\n{tail}"


def newest_log(folder: Path) -> Path | None:
    """Return the log of the latest run; None before the first."""
    logs = [log for log in folder.glob("run_*.log") if log.stem[4:].isdecimal()]
    return max(logs, key=lambda log: int(log.stem[4:]), default=None)


def name_of(training: Training) -> str:
    """Return how a load is called in messages: its repository and model."""
    return f"{training.program.name}/{training.model}"


def describe(one: RunningLoad) -> dict[str, Any]:
    """Return `background_info` of one loop."""
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
