"""Under xdist: what the controller and its one worker tell each other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from wattest.plan.pools import Mutants

CAMPAIGN = "wattest-campaign"
"""The name under which the campaign of a run is registered."""

_SEED, _MUTANTS, _PID = "wattest_seed", "wattest_mutants", "wattest_controller_pid"
_LINES, _STATUS = "wattest_lines", "wattest_exit_status"


class Controller:
    """What a run of pytest does for the xdist workers that it starts."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._nodes: list[Any] = []
        self._told: set[str] = set()
        self._exit_status: int | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker that is about to start our PID, and the plan as it stands."""
        self._nodes.append(node)
        node.workerinput[_PID] = os.getpid()
        run = self._config.pluginmanager.get_plugin(CAMPAIGN)
        if run is not None:
            plan = run.campaign.plan
            drawn = {path: [dict(one) for one in mutants] for path, mutants in plan.mutants.items()}
            node.workerinput[_SEED], node.workerinput[_MUTANTS] = plan.seed, drawn

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Say what the workers had to say, each line once."""
        output = getattr(node, "workeroutput", {})
        for line in output.get(_LINES, []):
            if line not in self._told:
                tell(self._config, line)
            self._told.add(line)
        self._exit_status = output.get(_STATUS, self._exit_status)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """End as the worker asks; what interrupts us reaches it."""
        if exitstatus == pytest.ExitCode.INTERRUPTED:
            for node in self._nodes:
                _interrupt(node)
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self._exit_status is not None:
            session.exitstatus = self._exit_status


def _interrupt(node: Any) -> None:
    """Send SIGTERM to a worker of this machine: it would only feel it when xdist loses patience.

    Its record tells what it was doing; one that has ended already is passed over.
    """
    if node.gateway.spec.popen:
        with contextlib.suppress(ProcessLookupError):
            node.gateway._io.popen.terminate()


def require_utf8(config: pytest.Config) -> None:
    """Check that xdist can pass names to its workers.

    Raises:
        pytest.UsageError: the project's folder or the command line holds what is no UTF-8.
    """
    for name in (str(config.rootpath), str(Path.cwd()), *map(str, config.invocation_params.args)):
        try:
            name.encode()
        except UnicodeEncodeError:
            raise pytest.UsageError(
                f"{os.fsencode(name)!r} is not UTF-8, and xdist passes nothing else to its workers;"
                " run with -n 0, or choose another name"
            ) from None


def refuse_several(config: pytest.Config) -> None:
    """Refuse to measure on several workers: they would share one counter.

    Raises:
        pytest.UsageError: there are several.
    """
    specs = config.getoption("tx", None) or ()
    count = max(sum(map(_multiplier, specs)), config.getoption("numprocesses", None) or 0)
    count = getattr(config, "workerinput", {}).get("workercount", count)
    if count > 1:
        raise pytest.UsageError(
            f"{count} workers would measure on the same counters at once, and each would count"
            " the other's energy; run with -n 0 or -n 1"
        )


def _multiplier(spec: str) -> int:
    """Return how many workers a spec such as `3*popen` stands for."""
    number, star, _ = spec.partition("*")
    return int(number) if star and number.isdecimal() else 1


def is_controller(config: pytest.Config) -> bool:
    """Tell whether the experiments run in xdist workers and not here."""
    return bool(config.getoption("tx", None)) and not is_worker(config)


def is_worker(config: pytest.Config) -> bool:
    """Tell whether this process is an xdist worker."""
    return hasattr(config, "workerinput")


def plan_of_controller(config: pytest.Config) -> tuple[int | None, Mapping[str, Mutants] | None]:
    """Return the root seed and the mutants that the controller of this worker sent."""
    sent = getattr(config, "workerinput", {})
    return sent.get(_SEED), sent.get(_MUTANTS)


def owners(config: pytest.Config) -> tuple[int, ...]:
    """Return the PID of this worker's controller, whose end also ends what the worker starts."""
    pid: int | None = getattr(config, "workerinput", {}).get(_PID)
    return () if pid is None else (pid,)


def tell(config: Any, line: str) -> None:
    """Print a line; a worker has no terminal, and its controller prints it when it is done."""
    if is_worker(config):
        config.workeroutput.setdefault(_LINES, []).append(line)
    elif (reporter := config.pluginmanager.get_plugin("terminalreporter")) is not None:
        begun = reporter._tw.width_of_current_line
        reporter.write_line(f"\n{line}" if begun else line)


def end_with(config: Any, exit_status: int) -> None:
    """Let the whole run of a worker's controller end with this exit status."""
    config.workeroutput[_STATUS] = int(exit_status)
