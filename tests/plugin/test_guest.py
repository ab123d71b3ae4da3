"""The campaign's plugin is a guest: only a campaign's own conftest.py loads it."""

from __future__ import annotations

import os
import re

import pytest

from conftest import ROOT, TOY, Project, quick_words

FOREIGN = """
import sys
import pytest

def pytest_addoption(parser):
    for name in ("--config", "--seed", "--resume", "--sysfs"):
        parser.addoption(name, default="ours")

def pytest_configure(config):
    config.addinivalue_line("markers", "parallel: ours")

@pytest.fixture
def experiment(request):
    return request.config.getoption("--config")
"""
FOREIGN_TEST = """
import sys
import pytest

@pytest.mark.parallel
def test_it(experiment, pytestconfig):
    assert (experiment, pytestconfig.getoption("--seed")) == ("ours", "7")
    assert "wattest.plugin" not in sys.modules
    assert not {"numpy", "scipy", "pynvml", "jsonschema"} & set(sys.modules)

@pytest.mark.parametrize("experiment", [1, 2])
def test_parameters(experiment):
    assert experiment in (1, 2)
"""


def installed_plugins() -> list[str]:
    """Return the modules that an installed wattest makes pytest load everywhere."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    entries = text.split("[project.entry-points.pytest11]\n")[1].split("\n[")[0]
    return re.findall(r'^[\w-]+ = "([\w.]+)"$', entries, re.MULTILINE)


def test_a_foreign_project_with_names_of_ours_is_unchanged(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeconftest(FOREIGN)
    folder = pytester.mkdir("experiments")
    (folder / "test_training.py").write_text(FOREIGN_TEST)
    assert "wattest.plugin" not in installed_plugins()
    words = [word for module in installed_plugins() for word in ("-p", module)]
    result = pytester.runpytest_subprocess(*words, "--strict-markers", "experiments", "--seed=7")
    result.assert_outcomes(passed=3)
    above = os.path.relpath(folder, folder.parents[1])
    monkeypatch.chdir(folder.parents[1])
    assert pytester.runpytest_subprocess(*words, above, "--seed=7").ret == 0


def test_a_campaign_loads_no_tools_for_testing_pytest(project: Project) -> None:
    project.settings(TOY)
    with (project.path / "conftest.py").open("a") as file:
        file.write(
            "\ndef pytest_collection_finish(session):\n"
            "    assert not session.config.pluginmanager.has_plugin('pytester')\n"
        )
    assert project.pytester is not None
    words = quick_words("experiments", "--collect-only", "--config", "settings/test.json")
    result = project.pytester.runpytest_subprocess(*words)
    assert result.ret == 0, result.stdout.str()
