"""pytest's side of wattest: options and markers for every run, the rest where a campaign asks.

`collection` plans, selects, checks and begins what a run asks for, `reporting` shows what came of
it, and `workers` is what an xdist controller and its worker tell each other. A run of pytest that
names no experiment meets none of them.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wattest.plugin import reporting, workers
from wattest.plugin.options import add_options, named_paths, project_root
from wattest.plugin.reporting import HEADLINE

if TYPE_CHECKING:
    from wattest.plugin.collection import CampaignRun
    from wattest.session import Session

__all__ = ["HEADLINE", "session_of"]

# The times of a file may be coarser than the clock.
_CLOCK_TICK_SECONDS = 1.0
_MARKERS = (
    "default: an experiment with fixed hyper-parameters",
    "mutation: an experiment with mutated hyper-parameters",
    "parallel: an experiment over a background load",
    "load: a background load alone",
    "experiment(repo, model, mode, arm, background): selects exactly,"
    " such as -m \"experiment(model='resnet20')\"",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; most have an ini twin called ``wattest_…``."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers; read settings and registry where experiments are asked for."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    _give_back_at_the_end(config)
    if workers.is_controller(config):
        workers.require_utf8(config)
        config.pluginmanager.register(workers.Controller(config), "wattest-controller")
        config.pluginmanager.register(reporting, "wattest-reporting")
    if _asks_for_experiments(config):
        campaign_of(config).announce()
    elif workers.is_controller(config) and _leads_to_experiments(config):
        # Its workers may collect experiments: they shall all have one plan.
        campaign_of(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Let ``-n auto`` be a worker for each free GPU, where experiments are asked for."""
    if not _asks_for_experiments(config) or os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    from wattest.errors import WattestError
    from wattest.plugin.options import root_of_sys
    from wattest.plugin.team import free_gpus

    try:
        return free_gpus(root_of_sys(config)) or None
    except WattestError:
        # What is wrong is said where the campaign is read.
        return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Turn every planned experiment into one parameter of the tests that take `experiment`."""
    if "experiment" not in metafunc.fixturenames:
        return
    try:
        parameters = campaign_of(metafunc.config).parameters()
    except pytest.UsageError as error:
        pytest.exit("\n".join(map(str, error.args)), returncode=pytest.ExitCode.USAGE_ERROR)
    metafunc.parametrize("experiment", parameters)


def campaign_of(config: pytest.Config) -> CampaignRun:
    """Return the campaign of this run, read and registered at the first call.

    Raises:
        pytest.UsageError: settings or registry have faults; one line each.
    """
    plugins = config.pluginmanager
    found: CampaignRun | None = plugins.get_plugin(workers.CAMPAIGN)
    if found is None:
        from wattest.plugin.collection import CampaignRun

        found = CampaignRun(config)
        plugins.register(found, workers.CAMPAIGN)
        if not plugins.is_registered(reporting):
            plugins.register(reporting, "wattest-reporting")
    return found


def session_of(config: pytest.Config) -> Session:
    """Return the session of this run's campaign, opened at the first call."""
    return campaign_of(config).session


def _asks_for_experiments(config: pytest.Config) -> bool:
    """Tell whether a settings file is named, or the folder of the experiments, or what is in it."""
    folder = _experiments(config)
    return bool(config.getoption("--config")) or any(
        folder in (path, *path.parents) for path in _paths(config)
    )


def _leads_to_experiments(config: pytest.Config) -> bool:
    """Tell whether a folder is named that the folder of the experiments lies in."""
    return any(path in _experiments(config).parents for path in _paths(config))


def _experiments(config: pytest.Config) -> Path:
    return (project_root(config) / "experiments").resolve()


def _paths(config: pytest.Config) -> list[Path]:
    here = config.invocation_params.dir
    return [(here / argument.split("::")[0]).resolve() for argument in config.args]


def _give_back_at_the_end(config: pytest.Config) -> None:
    """Under sudo, give back what Python caches, and whatever pytest writes from now on."""
    from wattest import files

    if files.sudo_user() is None:
        return
    began = time.time() - _CLOCK_TICK_SECONDS
    root, paths = project_root(config), list(named_paths(config))
    made = [one for path in paths for one in (path, *path.parents) if not os.path.lexists(one)]
    places = {config.rootpath, config.invocation_params.dir}
    there = {one for place in places for one in place.iterdir()}

    def give_back() -> None:
        files.give_back_caches(root)
        # Plugins write beside the project's own files: .coverage, .benchmarks and their like.
        with suppress(OSError):
            made.extend(one for place in places for one in place.iterdir() if one not in there)
        for path in dict.fromkeys((*paths, *made)):
            with suppress(OSError):
                if path in made or path.lstat().st_mtime >= began:
                    files.give_back_written(path, made)

    config.add_cleanup(give_back)
