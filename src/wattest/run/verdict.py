"""The verdict: whether an attempt may count, or the reasons why not."""

from __future__ import annotations

from wattest.energy import foreign_gpu_processes, other_cpu_load
from wattest.process import how_it_ended
from wattest.run.activeload import ActiveLoad
from wattest.run.outcome import Attempt


def judge(attempt: Attempt, load: ActiveLoad) -> None:
    """Fill in why an attempt that is over may not count, and what to know if it does."""
    faults, flags = attempt.faults, attempt.flags
    if attempt.trouble:
        faults.append(attempt.trouble)
    faults += _exit_faults(attempt)
    if attempt.measurement is not None:
        faults += [reason.text for reason in attempt.measurement.faults]
        flags += [reason.text for reason in attempt.measurement.flags]
        load_faults, load_flags = load.judge()
        # What ended the attempt says already what is wrong with its load.
        faults += load_faults if attempt.trouble is None else []
        flags += load_flags
    if attempt.exit is not None and attempt.exit.leftovers_killed:
        count = attempt.exit.leftovers_killed
        flags.append(f"{count} processes outlived the training and were killed")
    if attempt.metrics.found:
        flags += attempt.metrics.problems
    flags[:] = dict.fromkeys([*flags, *_neighbours(attempt)])


def _exit_faults(attempt: Attempt) -> list[str]:
    """Return the faults that follow from how the training ended and what its log says."""
    if attempt.interrupted:
        return ["interrupted before the training was done"]
    if attempt.timed_out:
        return [f"timed out after {attempt.timeout_seconds:g} s (timeout_seconds)"]
    if attempt.exit is None:
        return []
    faults, end = [], attempt.exit
    if end.status != 0:
        faults.append(f"training {how_it_ended(end.status, oom_kills=end.oom_kills)}")
    if not attempt.metrics.found:
        faults += ["no performance metric was found", *attempt.metrics.problems]
    return faults


def _neighbours(attempt: Attempt) -> list[str]:
    """Return what else was on the machine: foreign GPU processes, and other CPU load."""
    own = attempt.own_pids | ({attempt.pid} if attempt.pid is not None else set())
    reasons = [foreign_gpu_processes(attempt.gpu_processes, own)]
    if (use := attempt.cpu) is not None:
        ours = use.foreground_seconds + use.background_seconds + use.harness_seconds
        busy, total = use.machine_busy_seconds, use.machine_total_seconds
        reasons.append(other_cpu_load(busy, ours, total))
    return [*attempt.unseen, *(reason.text for reason in reasons if reason is not None)]
