"""Under xdist: what the controller and its workers tell each other."""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

import pytest

from wattest.plugin.scheduling import SEAT, UnitScheduling, units_of

if TYPE_CHECKING:
    from wattest.plan.pools import Mutants
    from wattest.session import Member

CAMPAIGN = "wattest-campaign"
"""The name under which the campaign of a run is registered."""

_SEED, _MUTANTS, _PID = "wattest_seed", "wattest_mutants", "wattest_controller_pid"
_LINES, _STATUS = "wattest_lines", "wattest_exit_status"
_MEMBER, _LIVE = "wattest_member", "wattest_live"
# What xdist calls the end of a worker whose connection has broken off.
_KILLED = "Not properly terminated"
_HEAR_OUT_SECONDS = 30.0
_NEVER_BEGAN = "the session was interrupted before this began; --resume runs it"
_POLL_SECONDS = 0.1


class Controller:
    """What a run of pytest does for the xdist workers that it starts."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._nodes: list[Any] = []
        self._down: set[Any] = set()
        self._told: set[str] = set()
        self._reported: set[str] = set()
        self._failed_starts = 0
        self._exit_status: int | None = None
        self._scheduling: UnitScheduling | None = None

    @property
    def _run(self) -> Any:
        """The campaign of this run; None where there is none."""
        return self._config.pluginmanager.get_plugin(CAMPAIGN)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config) -> UnitScheduling | None:
        """Let a campaign run in the order of its plan; other tests as xdist does."""
        if (run := self._run) is not None:
            plan = run.campaign.plan
            self._scheduling = UnitScheduling(workers_of(config), units_of(plan))
        return self._scheduling

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker that is about to start our PID, the plan as it stands, and its seat."""
        self._nodes.append(node)
        node.workerinput[_PID] = os.getpid()
        if (run := self._run) is not None:
            plan = run.campaign.plan
            drawn = {path: [dict(one) for one in mutants] for path, mutants in plan.mutants.items()}
            node.workerinput[_SEED], node.workerinput[_MUTANTS] = plan.seed, drawn
            if run.team is not None:
                number, member = run.team.seat_for(node)
                node.workerinput[SEAT] = number
                node.workerinput[_MEMBER] = pickle.dumps(member)
                if run.team.live is not None:
                    node.workerinput[_LIVE] = run.team.live.address

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Say what a worker had to say, each thing once; replace none that cannot even start."""
        self._down.add(node)
        output = getattr(node, "workeroutput", {})
        for line in output.get(_LINES, []):
            if line not in self._told:
                self._told.add(line)
                tell(self._config, line)
        self._exit_status = output.get(_STATUS, self._exit_status)
        if (run := self._run) is not None and run.team is not None:
            run.team.leave(node)
        if error and self._scheduling and not self._scheduling.has_collected(node):
            self._failed_starts += 1
            # One that was killed has not failed; but who is killed again and again has.
            if str(error) != _KILLED or self._failed_starts > workers_of(self._config):
                session: Any = self._config.pluginmanager.get_plugin("dsession")
                session._max_worker_restart = 0
                self._exit_status = int(pytest.ExitCode.USAGE_ERROR)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Let the CSV of several workers have the row of what has just ended."""
        self._reported.add(report.nodeid)
        headline: dict[str, Any] | None = getattr(report, "wattest", None)
        if headline is not None and (run := self._run) is not None and run.team is not None:
            run.team.add(headline["experiment_id"])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """End as a worker asks; what interrupts us reaches them all, and they are heard out."""
        if exitstatus == pytest.ExitCode.INTERRUPTED:
            for node in self._nodes:
                _interrupt(node)
            self._hear_out()
            self._name_what_never_began()
        nothing_ran = exitstatus in (pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.OK)
        if nothing_ran and self._exit_status is not None:
            session.exitstatus = self._exit_status

    def _hear_out(self) -> None:
        """Take the last reports of interrupted workers: nobody else would name those tests."""
        session: Any = self._config.pluginmanager.get_plugin("dsession")
        deadline = time.monotonic() + _HEAR_OUT_SECONDS
        while set(self._nodes) - self._down and time.monotonic() < deadline:
            try:
                name, words = session.queue.get(timeout=_POLL_SECONDS)
            except Empty:
                continue
            if name == "testreport":
                # As xdist does: a report without its worker would be one of another test to JUnit.
                words["rep"].node = words["node"]
                self._config.hook.pytest_runtest_logreport(report=words["rep"])
            elif name in ("workerfinished", "errordown", "internal_error"):
                self._down.add(words["node"])

    def _name_what_never_began(self) -> None:
        """Let JUnit, and whoever else reports, name the tests that several workers had not begun.

        The terminal says itself that the run was interrupted.
        """
        if (run := self._run) is None or run.team is None or self._scheduling is None:
            return
        plugins = self._config.pluginmanager
        report = plugins.subset_hook_caller(
            "pytest_runtest_logreport", [plugins.get_plugin("terminalreporter")]
        )
        for test in self._scheduling.tests:
            if test not in self._reported:
                file = test.partition("::")[0]
                place, reason = (file, 0, test), (file, 1, f"Skipped: {_NEVER_BEGAN}")
                skipped = pytest.TestReport(test, place, {}, "skipped", reason, "setup")
                report(report=skipped)
                report(report=pytest.TestReport(test, place, {}, "passed", None, "teardown"))


def _interrupt(node: Any) -> None:
    """Send SIGTERM to a worker of this machine: it would only feel it when xdist loses patience.

    Its record tells what it was doing; one that has ended already is passed over.
    """
    if node.gateway.spec.popen:
        with contextlib.suppress(ProcessLookupError):
            node.gateway._io.popen.terminate()


def workers_of(config: pytest.Config) -> int:
    """Return on how many workers the experiments would run; 0 without xdist."""
    return sum(map(_multiplier, config.getoption("tx", None) or ()))


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
    """Refuse to measure as one of several workers without a seat.

    They have seats where the command line asks for experiments; here they were come upon.

    Raises:
        pytest.UsageError: this is one of several.
    """
    count = getattr(config, "workerinput", {}).get("workercount", 1)
    if count > 1 and member_of(config) is None:
        raise pytest.UsageError(
            f"{count} workers would measure on the same counters at once, and each would count"
            " the other's energy; name the experiments on the command line, for one GPU each, or"
            " run with -n 0 or -n 1"
        )


def _multiplier(spec: str) -> int:
    """Return how many workers a spec such as `3*popen` stands for."""
    number, star, _ = spec.partition("*")
    return int(number) if star and number.isdecimal() else 1


def is_controller(config: pytest.Config) -> bool:
    """Tell whether the experiments run in xdist workers and not here."""
    # As xdist itself decides it: it passes over --tx where nothing is to be distributed.
    distributes = config.getoption("dist", "no") != "no" and bool(config.getoption("tx", None))
    return distributes and not is_worker(config)


def is_worker(config: pytest.Config) -> bool:
    """Tell whether this process is an xdist worker."""
    return hasattr(config, "workerinput")


def plan_of_controller(config: pytest.Config) -> tuple[int | None, Mapping[str, Mutants] | None]:
    """Return the root seed and the mutants that the controller of this worker sent."""
    sent = getattr(config, "workerinput", {})
    return sent.get(_SEED), sent.get(_MUTANTS)


def member_of(config: pytest.Config) -> Member | None:
    """Return which of several workers this is; None where it is none of several."""
    sent = getattr(config, "workerinput", {}).get(_MEMBER)
    member: Member | None = None if sent is None else pickle.loads(sent)
    return member


def live_address(config: pytest.Config) -> tuple[str, str] | None:
    """Return where this worker's live line goes, and its name; None where nobody shows it."""
    sent = getattr(config, "workerinput", {})
    return (sent[_LIVE], sent["workerid"]) if _LIVE in sent else None


def refuse_remote(config: pytest.Config) -> None:
    """Refuse workers that would not run on this machine.

    Raises:
        pytest.UsageError: there is one.
    """
    for spec in config.getoption("tx", None) or ():
        if not spec.rpartition("*")[2].startswith("popen"):
            raise pytest.UsageError(
                f"--tx {spec}: a worker on another host is not offered, since nobody here could end"
                " what it starts; let each host run a part of the plan: --shard K/N"
            )


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


def status_of(node: Any) -> int | None:
    """Return with which exit status a worker that has ended wants the whole run to end, if any."""
    status: int | None = getattr(node, "workeroutput", {}).get(_STATUS)
    return status


def end_with(config: Any, exit_status: int) -> None:
    """Let the whole run of a worker's controller end with this exit status."""
    config.workeroutput[_STATUS] = int(exit_status)
