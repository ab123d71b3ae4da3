"""The pytest plugin: options, markers, parametrization, checks before the first run, summary."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from wattest.errors import WattestError
from wattest.plugin import workers
from wattest.plugin.options import add_options, option, results_folder, session_options

if TYPE_CHECKING:
    from wattest.plan.experiment import Experiment
    from wattest.plan.load import Campaign
    from wattest.records.table import Finished
    from wattest.session.session import Session

CAMPAIGN: pytest.StashKey[Campaign] = pytest.StashKey()
SESSION: pytest.StashKey[Session] = pytest.StashKey()
HEADLINE: pytest.StashKey[dict[str, Any]] = pytest.StashKey()


_MARKERS = (
    "default: an experiment with fixed hyper-parameters",
    "mutation: an experiment with mutated hyper-parameters",
    "parallel: an experiment over a background load",
    "experiment(repo, model, mode, background): selects exactly,"
    " such as -m \"experiment(model='resnet20')\"",
)
_FINISHED: pytest.StashKey[dict[str, Finished]] = pytest.StashKey()
_EXIT_STATUS: pytest.StashKey[int] = pytest.StashKey()
_NODES: pytest.StashKey[list[Any]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; most have an ini twin called ``wattest_…``."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers; read settings and registry where experiments are asked for."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    if config.getoption("--config") is not None or _names_experiments(config):
        campaign = _campaign(config)
        _refuse_workers(config)
        if not workers.is_worker(config):
            _take_signals(config)
        if config.get_verbosity() < 0:
            for warning in campaign.warnings:
                sys.stderr.write(f"warning: {warning}\n")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker the plan and the controller's PID."""
    node.config.stash.setdefault(_NODES, []).append(node)
    campaign = node.config.stash.get(CAMPAIGN, None)
    workers.send_plan(node, None if campaign is None else campaign.plan)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Say what an xdist worker had to say."""
    lines, exit_status = workers.said_by(node)
    for line in lines:
        _print(node.config, line)
    if exit_status is not None:
        node.config.stash[_EXIT_STATUS] = exit_status


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Turn every planned experiment into one parameter of the tests that take `experiment`."""
    if "experiment" not in metafunc.fixturenames:
        return
    try:
        campaign = _campaign(metafunc.config)
    except pytest.UsageError as error:
        pytest.exit("\n".join(map(str, error.args)), returncode=pytest.ExitCode.USAGE_ERROR)
    parameters = [_parameter(experiment) for experiment in campaign.plan.experiments]
    metafunc.parametrize("experiment", parameters)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Check the programs of what was selected, and the sensors, before anything runs."""
    if not workers.is_worker(session.config):
        _begin(session)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> Generator[None]:
    """With ``--resume``, leave out what has already counted; check what is left, in a worker.

    A worker that raised would break xdist, and nobody would see why: it runs nothing instead.
    """
    yield
    try:
        _leave_out_finished(config, items)
        if workers.is_worker(config):
            session.items = items
            _begin(session)
    except pytest.UsageError as error:
        if not workers.is_worker(config):
            raise
        for line in error.args:
            workers.say_to_controller(config, f"ERROR: {line}")
        workers.end_with(config, pytest.ExitCode.USAGE_ERROR)
        items.clear()


def _begin(session: pytest.Session) -> None:
    config = session.config
    selected = [_experiment(item) for item in session.items if _is_ours(item)]
    if not selected or config.getoption("collectonly"):
        return
    faults = config.stash[CAMPAIGN].faults(selected)
    if faults:
        raise pytest.UsageError(*map(str, faults))
    opened = session_of(config)
    with usage_errors():
        opened.begin(selected, _finished(config))


def _leave_out_finished(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--resume") or CAMPAIGN not in config.stash:
        return
    from wattest.records.resume import finished_experiments
    from wattest.records.table import complete_csv

    if any(map(_is_ours, items)) and not config.getoption("collectonly"):
        # What another session finishes while this one waits for the counters is done, too.
        with usage_errors():
            session_of(config).take_counters()
    plan = config.stash[CAMPAIGN].plan
    finished = finished_experiments(results_folder(config), plan)
    config.stash[_FINISHED] = finished
    ours = [item for item in items if _is_ours(item)]
    done = [item for item in ours if _experiment(item).key in finished]
    if done:
        config.hook.pytest_deselected(items=done)
        gone = set(done)
        items[:] = [item for item in items if item not in gone]
    left = len(ours) - len(done)
    _print(config, f"resume: {len(done)} of {len(ours)} experiments found finished, {left} left")
    if done and not left and not config.getoption("collectonly"):
        with usage_errors():
            completed = complete_csv(results_folder(config), finished, plan)
        if completed is not None:
            _print(config, f"resume: {completed} was cut short and is complete now")
    if workers.is_worker(config) and done and not left:
        workers.end_with(config, pytest.ExitCode.OK)


def _print(config: pytest.Config, line: str) -> None:
    if workers.is_worker(config):
        workers.say_to_controller(config, line)
        return
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.ensure_newline()
        reporter.write_line(line)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A campaign with nothing left to do has succeeded; what interrupts it reaches its worker."""
    if exitstatus == pytest.ExitCode.INTERRUPTED:
        nodes: list[Any] = session.config.stash.get(_NODES, [])
        workers.interrupt(nodes)
    nothing_left = exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED
    if nothing_left and _finished(session.config):
        session.exitstatus = pytest.ExitCode.OK
    if nothing_left and _EXIT_STATUS in session.config.stash:
        session.exitstatus = session.config.stash[_EXIT_STATUS]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what will run, on what machine, with which sensors."""
    campaign = config.stash.get(CAMPAIGN, None)
    if campaign is None:
        return []
    plan = campaign.plan
    lines = [
        f"wattest: {campaign.settings.file}, {_counted(len(plan.experiments))} planned,"
        f" seed {plan.seed} ({campaign.seed_origin}), plan {plan.digest}"
    ]
    if not config.getoption("collectonly"):
        lines += session_of(config).header()
        if workers.is_controller(config):
            config.stash[SESSION].close()
            del config.stash[SESSION]
    return lines + [f"warning: {warning}" for warning in campaign.warnings]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Carry the headline of an experiment to its report; wattest's own errors need no traceback."""
    outcome: Any = yield
    report = outcome.get_result()
    headline = item.stash.get(HEADLINE, None)
    if headline is not None:
        report.wattest = headline
    if call.excinfo is not None and isinstance(call.excinfo.value, WattestError):
        report.longrepr = str(call.excinfo.value)


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


def _report_interrupted(item: pytest.Item, headline: dict[str, Any]) -> None:
    report = pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="passed" if headline["verdict"] == "valid" else "failed",
        longrepr="; ".join(headline["reasons"]) or None,
        when="call",
        duration=headline["duration_seconds"] or 0.0,
        user_properties=item.user_properties,
    )
    report.wattest = headline  # type: ignore[attr-defined]
    item.config.hook.pytest_runtest_logreport(report=report)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print one line per experiment: what it was, what it cost, what it gave, whether it counts."""
    reports = [
        report
        for category in ("passed", "failed", "error")
        for report in terminalreporter.getreports(category)
    ]
    headlines = {
        report.wattest["experiment_id"]: report.wattest
        for report in reports
        if hasattr(report, "wattest")
    }
    if not headlines:
        return
    from wattest.terminal.table import summary_lines

    terminalreporter.section("experiments")
    for line in summary_lines([headlines[name] for name in sorted(headlines)]):
        terminalreporter.write_line(line)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close what the session holds: sensors, locks, the governor; give back what was cached."""
    from wattest.files import give_back_caches

    session = config.stash.get(SESSION, None)
    if session is not None:
        session.close()
    give_back_caches(config.rootpath)


def _campaign(config: pytest.Config) -> Campaign:
    """Read settings and registry once per session; faults stop it with one line each."""
    if CAMPAIGN not in config.stash:
        from wattest.plan.load import Places, load_campaign

        seed, drawn = workers.plan_of_controller(config)
        places = Places(config.invocation_params.dir, config.rootpath)
        with usage_errors():
            config.stash[CAMPAIGN] = load_campaign(
                places,
                option(config, "config"),
                option(config, "models-config"),
                config.getoption("--seed") if seed is None else seed,
                results_folder(config),
                resume=config.getoption("--resume"),
                drawn=drawn,
            )
    return config.stash[CAMPAIGN]


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn what wattest raises into pytest's usage error: one line per fault, exit code 4."""
    try:
        yield
    except WattestError as error:
        raise pytest.UsageError(*str(error).split("\n")) from None


def session_of(config: pytest.Config) -> Session:
    """Return the session, opened at the first call: results folder, sensors, supervision."""
    if SESSION not in config.stash:
        from wattest.plugin.livewriter import live_writer
        from wattest.session.session import Session

        with usage_errors():
            config.stash[SESSION] = Session.open(
                config.stash[CAMPAIGN],
                session_options(config, _controller(config)),
                live_writer(config),
                config.get_verbosity(),
            )
    return config.stash[SESSION]


def _counted(experiments: int) -> str:
    return f"{experiments} experiment{'' if experiments == 1 else 's'}"


def _finished(config: pytest.Config) -> dict[str, Finished]:
    return config.stash.get(_FINISHED, {})


def _take_signals(config: pytest.Config) -> None:
    """Let signals end pytest in order from its very start; a session takes them again."""
    from wattest.interrupts import OrderlySignals

    signals = OrderlySignals()
    signals.install()
    config.add_cleanup(signals.restore)


def _controller(config: pytest.Config) -> tuple[int, ...]:
    pid = workers.controller_pid(config)
    return () if pid is None else (pid,)


def _parameter(experiment: Experiment) -> Any:
    models: list[str | None] = [background.model for background in experiment.backgrounds]
    marks = [
        pytest.mark.experiment(
            repo=experiment.foreground.program.name,
            model=experiment.foreground.model,
            mode=experiment.mode,
            background=model,
        )
        for model in models or [None]
    ]
    return pytest.param(
        experiment, id=experiment.id, marks=[getattr(pytest.mark, experiment.mode), *marks]
    )


def _is_ours(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and "experiment" in callspec.params


def _experiment(item: pytest.Item) -> Experiment:
    experiment: Experiment = item.callspec.params["experiment"]  # type: ignore[attr-defined]
    return experiment


def _names_experiments(config: pytest.Config) -> bool:
    """Tell whether an argument leads into the folder of the experiments."""
    folder = config.rootpath / "experiments"
    for argument in config.args:
        path = config.invocation_params.dir / argument.split("::")[0]
        if folder == path.resolve() or folder in path.resolve().parents:
            return True
    return False


def _refuse_workers(config: pytest.Config) -> None:
    """Refuse to measure on several xdist workers: they would share one counter."""
    count = workers.workers_of(config)
    if count > 1 and not config.getoption("collectonly"):
        raise pytest.UsageError(
            f"{count} workers would measure on the same counters at once, and each would count"
            " the other's energy; run with -n 0 or -n 1"
        )
