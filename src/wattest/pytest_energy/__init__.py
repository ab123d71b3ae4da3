"""Energy of any test: the marker and the fixture `energy`, for every pytest project.

It is all that an installed wattest adds to a foreign project: one marker, one fixture, two options
and one value of the ini file, all called `energy…`. `meter` measures, `budget` judges, `reporting`
shows; none of them is imported before a test measures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from wattest.pytest_energy.budget import Budget
    from wattest.pytest_energy.meter import MeasuredWindow, Meter
    from wattest.pytest_energy.reporting import Entry

__all__ = ["Energy", "EnergyBudgetWarning"]

_PLUGIN = "wattest-energy-session"
_ATTRIBUTE = "wattest_energy"


class EnergyBudgetWarning(pytest.PytestWarning):
    """A budget could not be checked: nothing was measured that could be held against it."""


class Energy:
    """What the fixture `energy` gives: windows of a test, each measured for itself."""

    def __init__(self, session: _Session, item: pytest.Item) -> None:
        self._session = session
        self._item = item

    def window(self, name: str) -> AbstractContextManager[MeasuredWindow]:
        """Measure what happens inside the ``with`` block; its numbers are there after it.

        What is returned may be entered again: each time is a window of its own.

        Args:
            name: How the report calls it.
        """
        return _Block(self._session, self._item, str(name))


class _Block(AbstractContextManager["MeasuredWindow"]):
    """Opens a window whenever it is entered."""

    def __init__(self, session: _Session, item: pytest.Item, name: str) -> None:
        self._session = session
        self._item = item
        # Neither a terminal nor JUnit nor another process takes any character.
        self._name = "".join(
            one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in name
        )
        self._open: list[AbstractContextManager[MeasuredWindow]] = []

    def __enter__(self) -> MeasuredWindow:
        entry = self._session.begin(self._item, self._name)
        self._open.append(entry.measure(self._session.meter))
        return self._open[-1].__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        return self._open.pop().__exit__(*error)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add two options, and for how long a test waits for the counters."""
    group = parser.getgroup("energy", "energy of tests (wattest)")
    group.addoption(
        "--energy-report", metavar="FILE.json", help="write what tests have measured, as JSON"
    )
    group.addoption(
        "--energy-strict", action="store_true", help="fail a test whose budget cannot be checked"
    )
    parser.addini(
        "energy_wait_seconds",
        "how long a test waits for counters on which others measure (3600)",
        default="3600",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and what a run keeps."""
    config.addinivalue_line(
        "markers",
        "energy(gpu_joules=None, cpu_joules=None, repeat=1): measure the energy of the test's call,"
        " and fail it above a budget",
    )
    config.pluginmanager.register(_Session(config), _PLUGIN)


@pytest.fixture
def energy(request: pytest.FixtureRequest) -> Energy:
    """Measure parts of a test: ``with energy.window("inference") as window``."""
    session: _Session | None = request.config.pluginmanager.get_plugin(_PLUGIN)
    assert session is not None
    return Energy(session, request.node)


class _Session:
    """One run of pytest: its meter, made when a test first measures, and what was measured."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._meter: Meter | None = None
        self._entries: dict[str, list[Entry]] = {}
        self._shown: list[dict[str, object]] = []
        self._is_written = True
        self._check_report()

    def _check_report(self) -> None:
        path = self._report
        if path and not (path.is_file() or (path.parent.is_dir() and not path.exists())):
            raise pytest.UsageError(f"--energy-report: {path}: name a file in a folder that exists")
        try:
            seconds = float(self._config.getini("energy_wait_seconds"))
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < float("inf"):
            raise pytest.UsageError("energy_wait_seconds: must be a number of seconds from 0 on")
        self._wait_seconds = seconds

    @property
    def _report(self) -> Path | None:
        named: str | None = self._config.getoption("--energy-report")
        return self._config.invocation_params.dir / named if named else None

    @property
    def meter(self) -> Meter:
        """What measures; the sensors are looked for at its first window."""
        if self._meter is None:
            from wattest.pytest_energy.meter import Meter

            self._meter = Meter(self._wait_seconds, self._tell)
        return self._meter

    def _tell(self, text: str) -> None:
        """Show a line while a test runs; a worker of xdist has no terminal."""
        capture: Any = self._config.pluginmanager.get_plugin("capturemanager")
        reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            with capture.global_and_fixture_disabled() if capture else nullcontext():
                reporter.write_line(f"\n{text}")

    def begin(self, item: pytest.Item, name: str | None = None) -> Entry:
        """Return a new entry of the report: for a window of a test, without a name for its call."""
        from wattest.pytest_energy.reporting import Entry

        entry = Entry(item.nodeid, name)
        self._entries.setdefault(item.nodeid, []).append(entry)
        return entry

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Measure the call of a marked test, as often as its marker says; then judge it."""
        marker = item.get_closest_marker("energy")
        if marker is None:
            yield
            return
        from wattest.pytest_energy.budget import Budget

        budget, wrong = Budget.of(marker.args, marker.kwargs)
        if wrong:
            pytest.fail(f"@pytest.mark.energy: {wrong}", pytrace=False)
        entry, restore = self.begin(item), _restoring(item)
        with entry.measure(self.meter):
            yield
        # pytest-benchmark itself calls it again and again.
        repeats = 0 if "benchmark" in getattr(item, "fixturenames", ()) else budget.repeat - 1
        for _ in range(repeats):
            if _has_ended(item):
                return
            restore()
            with entry.measure(self.meter):
                item.runtest()
        self._judge(item, budget, entry)

    def _judge(self, item: pytest.Item, budget: Budget, entry: Entry) -> None:
        entry.verdict = verdict = budget.judge(entry.windows)
        is_strict = self._config.getoption("--energy-strict")
        failures = [*verdict.exceeded, *(verdict.unchecked if is_strict else ())]
        for text in verdict.unchecked:
            try:
                item.warn(EnergyBudgetWarning(text))
            except EnergyBudgetWarning:
                # A project may make an error of every warning.
                failures.append(text)
        if failures:
            pytest.fail("\n".join(dict.fromkeys(failures)), pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the report of a test carry what it measured, across processes too."""
        if call.when != "teardown" or item.nodeid not in self._entries:
            return (yield)
        entries = self._entries.pop(item.nodeid)
        item.user_properties += [one for entry in entries for one in entry.properties()]
        report = yield
        setattr(report, _ATTRIBUTE, [entry.as_dict() for entry in entries])
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a test measured, in the process that shows it."""
        self._shown += getattr(report, _ATTRIBUTE, ())

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report; release the hardware."""
        if self._meter is not None:
            self._meter.close()
        # What an interrupt ended has no last report.
        left = (entry for entries in self._entries.values() for entry in entries)
        self._shown += [entry.as_dict() for entry in left]
        # An editor that only collects leaves the report of the last run.
        has_run = not self._config.getoption("collectonly")
        if self._report and has_run and not hasattr(self._config, "workerinput"):
            from wattest.pytest_energy.reporting import write

            try:
                write(self._report, self._shown)
            except OSError as error:
                sys.stderr.write(f"\nERROR: --energy-report: {self._report}: {error.strerror}\n")
                session.exitstatus = session.exitstatus or pytest.ExitCode.USAGE_ERROR
                self._is_written = False

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show what was measured, in one table."""
        if not self._shown:
            return
        from wattest.pytest_energy.reporting import lines

        terminalreporter.section("energy")
        for line in lines(self._shown):
            terminalreporter.write_line(line)
        if self._report and self._is_written:
            terminalreporter.write_line(f"report: {self._report}")


def _has_ended(item: pytest.Item) -> bool:
    """Tell whether a test of unittest has failed or was skipped: it notes that, and raises not."""
    return bool(getattr(item, "_excinfo", None))


def _restoring(item: pytest.Item) -> Callable[[], None]:
    """Return what makes a test of unittest as it is now: an asynchronous one runs only once."""
    import unittest

    test = getattr(item, "instance", None)
    attributes = dict(vars(test)) if isinstance(test, unittest.TestCase) else None

    def restore() -> None:
        if attributes is not None:
            vars(test).clear()
            vars(test).update(attributes)

    return restore
