"""Under xdist: what the controller and its one worker tell each other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wattest.plan.experiment import Plan
    from wattest.plan.pools import Mutants

_SEED, _MUTANTS, _PID = "wattest_seed", "wattest_mutants", "wattest_controller_pid"
_LINES, _STATUS = "wattest_lines", "wattest_exit_status"


def workers_of(config: Any) -> int:
    """Return on how many workers the experiments would run; 0 without xdist."""
    specs = config.getoption("tx", None) or ()
    return max(sum(map(_multiplier, specs)), config.getoption("numprocesses", None) or 0)


def _multiplier(spec: str) -> int:
    """Return how many workers a spec such as `3*popen` stands for."""
    number, star, _ = spec.partition("*")
    return int(number) if star and number.isdecimal() else 1


def is_controller(config: Any) -> bool:
    """Tell whether the experiments run in xdist workers and not here."""
    return bool(config.getoption("tx", None)) and not is_worker(config)


def is_worker(config: Any) -> bool:
    """Tell whether this process is an xdist worker."""
    return hasattr(config, "workerinput")


def send_plan(node: Any, plan: Plan | None) -> None:
    """Tell a worker that is about to start the controller's PID, and the plan as it stands."""
    node.workerinput[_PID] = os.getpid()
    if plan is not None:
        drawn = {path: [dict(one) for one in mutants] for path, mutants in plan.mutants.items()}
        node.workerinput[_SEED], node.workerinput[_MUTANTS] = plan.seed, drawn


def interrupt(nodes: Iterable[Any]) -> None:
    """Send SIGTERM to workers of this machine: they would only feel it when xdist loses patience.

    Their records tell what they were doing; what has ended already is passed over.
    """
    import psutil

    for node in nodes:
        if node.gateway.spec.popen:
            with contextlib.suppress(psutil.Error):
                worker = psutil.Process(node.gateway._rinfo().pid)
                if worker.ppid() == os.getpid():
                    worker.terminate()


def plan_of_controller(config: Any) -> tuple[int | None, Mapping[str, Mutants] | None]:
    """Return the root seed and the mutants that the controller of this worker sent."""
    sent = getattr(config, "workerinput", {})
    return sent.get(_SEED), sent.get(_MUTANTS)


def controller_pid(config: Any) -> int | None:
    """Return the PID of this worker's controller; None outside of a worker."""
    pid: int | None = getattr(config, "workerinput", {}).get(_PID)
    return pid


def say_to_controller(config: Any, line: str) -> None:
    """Let the controller print a line when this worker is done: a worker has no terminal."""
    config.workeroutput.setdefault(_LINES, []).append(line)


def end_with(config: Any, exit_status: int) -> None:
    """Let the whole run end with this exit status."""
    config.workeroutput[_STATUS] = int(exit_status)


def said_by(node: Any) -> tuple[list[str], int | None]:
    """Return what a worker that is done has to say, and the exit status it asks for."""
    output = getattr(node, "workeroutput", {})
    return output.get(_LINES, []), output.get(_STATUS)
