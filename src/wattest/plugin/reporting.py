"""The headline of an experiment on its way: to its report, to JUnit, to the table at the end."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Generator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wattest.errors import WattestError
from wattest.plugin import workers
from wattest.plugin.options import results_folder

if TYPE_CHECKING:
    from wattest.records import Headline
    from wattest.terminal import Console

HEADLINE: pytest.StashKey[Headline] = pytest.StashKey()
"""Where a test keeps the headline of its record."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Carry the headline of an experiment to its report; wattest's own errors need no traceback."""
    report = yield
    headline = item.stash.get(HEADLINE, None)
    if headline is not None:
        report.wattest = asdict(headline)
    if call.excinfo is not None and isinstance(call.excinfo.value, WattestError):
        report.longrepr = str(call.excinfo.value)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Report an interrupted experiment: pytest itself would name it nowhere.

    It has passed if the interruption came when its record was as good as written.
    """
    try:
        return (yield)
    except KeyboardInterrupt:
        headline = item.stash.get(HEADLINE, None)
        if headline is not None:
            _report_interrupted(item, headline)
        raise


def _report_interrupted(item: pytest.Item, headline: Headline) -> None:
    report = pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="passed" if headline.verdict == "valid" else "failed",
        longrepr="; ".join(headline.reasons) or None,
        when="call",
        duration=headline.duration_seconds or 0.0,
        user_properties=item.user_properties,
    )
    report.wattest = asdict(headline)  # type: ignore[attr-defined]
    item.config.hook.pytest_runtest_logreport(report=report)


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int) -> None:
    """Print one line per experiment: what it was, what it cost, what it gave, whether it counts."""
    headlines = {
        report.wattest["experiment_id"]: report.wattest
        for category in ("passed", "failed", "error")
        for report in terminalreporter.getreports(category)
        if hasattr(report, "wattest")
    }
    if not headlines:
        return
    from wattest.terminal import summary_lines

    terminalreporter.section("experiments")
    for line in summary_lines([headlines[name] for name in sorted(headlines)]):
        terminalreporter.write_line(line)
    sessions = {one["session_id"] for one in headlines.values()}
    terminalreporter.write_line(_report_command(terminalreporter.config, sessions))
    if exitstatus == pytest.ExitCode.INTERRUPTED:
        terminalreporter.write_line("to go on: the same command with --resume runs what is missing")


def _report_command(config: pytest.Config, sessions: set[str]) -> str:
    """Return what to type for the report of this session; of all where workers had one each."""
    from wattest.terminal import shown

    script = Path(sys.executable).with_name("wattest")
    is_found = shutil.which("wattest") == str(script)
    words = ["wattest" if is_found else shown(script), "report", shown(results_folder(config))]
    if len(sessions) == 1:
        words += ["--session", *sessions]
    return f"report: {shlex.join(words)}"


def console_of(config: pytest.Config) -> Console:
    """Return what shows how experiments go: this terminal, or that of a worker's controller."""
    from wattest.terminal import Console

    if (address := workers.live_address(config)) is not None:
        from wattest.plugin.live import SentConsole

        return SentConsole(*address)
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    uncaptured = capture.global_and_fixture_disabled if capture else nullcontext
    return Console(reporter, config.get_verbosity(), uncaptured)


def say(config: pytest.Config, text: str) -> None:
    """Warn on the terminal; before pytest has one, where its errors go."""
    if config.pluginmanager.has_plugin("terminalreporter"):
        console_of(config).warn(text)
    else:
        sys.stderr.write(f"warning: {text}\n")
