"""The marker and the fixture `energy`, in a project that knows nothing else of wattest."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest
from fakes.powercap import Event, PowercapTree, PowercapWriter
from fakes.profile import steady

from wattest.pytest_energy.budget import Budget
from wattest.pytest_energy.meter import MeasuredWindow, Meter
from wattest.pytest_energy.reporting import Entry, lines

WATTS = 100.0
BURN = """
import time, pytest
def burn(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
"""


@pytest.fixture
def foreign(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a project of somebody else, who has wattest installed; no counter is there."""
    # Also where it is a worker of xdist that runs this: pytest-benchmark would measure nothing.
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WATTEST_LOCK_DIR", str(pytester.path / "locks"))
    (pytester.path / "no_sysfs").mkdir()
    monkeypatch.setenv("WATTEST_SYSFS", str(pytester.path / "no_sysfs"))
    return pytester


@pytest.fixture
def counted(
    foreign: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.Pytester]:
    """Yield the same where a CPU package uses 100 W."""
    tree = PowercapTree(tmp_path / "sys")
    monkeypatch.setenv("WATTEST_SYSFS", str(tree.root))
    with PowercapWriter({tree.add_package(): steady(WATTS)}):
        yield foreign


def run(project: pytest.Pytester, body: str, *words: str) -> tuple[str, list[dict[str, Any]]]:
    """Run tests of this text; return what is shown, and the entries of the report."""
    project.makepyfile(BURN + body)
    arguments = ["-p", "no:cacheprovider", "--energy-report", "energy.json", *words]
    shown = project.runpytest_inprocess(*arguments).stdout.str()
    entries: list[dict[str, Any]] = json.loads((project.path / "energy.json").read_text())[
        "entries"
    ]
    return shown, entries


def test_a_call_is_measured_to_its_edges(counted: pytest.Pytester) -> None:
    shown, (entry,) = run(counted, "@pytest.mark.energy\ndef test_it(): burn(0.5)")
    assert "1 passed" in shown
    assert entry["cpu_joules"] == pytest.approx(WATTS * entry["seconds"], rel=0.01, abs=1.0)
    assert 0.5 <= entry["seconds"] < 0.7
    assert "shorter than 10 s" in entry["flags"][0]


def test_budgets_are_kept_or_exceeded(counted: pytest.Pytester) -> None:
    shown, entries = run(
        counted,
        """
@pytest.mark.energy(cpu_joules=20)
def test_above(): burn(0.6)
@pytest.mark.energy(cpu_joules=600, repeat=2)
def test_below(): burn(0.6)
""",
    )
    assert "1 failed, 1 passed" in shown
    assert "is above the budget of 20 J" in shown
    assert "Traceback" not in shown
    # Nobody else has measured.
    assert "wait for each other" not in shown
    above, below = entries
    assert above["budget"]["exceeded"]
    assert below["repetitions"] == len(below["each"]) == 2
    assert below["budget"] == {
        "budget": {"cpu_joules": 600.0, "gpu_joules": None}, "exceeded": [], "unchecked": []
    }  # fmt: skip


@pytest.mark.parametrize(
    ("joules", "is_exceeded"),
    [
        # Twice, both must be above; from three times on the interval of their mean.
        ((19.0, 23.0), False),
        ((20.1, 23.0), True),
        ((19.0, 22.0, 25.0), False),
        ((21.0, 22.0, 23.0), False),
        ((21.9, 22.0, 22.1), True),
    ],
)
def test_who_repeats_exceeds_a_budget_by_the_lower_end(
    joules: tuple[float, ...], is_exceeded: bool
) -> None:
    windows = [MeasuredWindow(cpu_joules=one) for one in joules]
    verdict = Budget(cpu_joules=20.0).judge(windows)
    assert (bool(verdict.exceeded), verdict.unchecked) == (is_exceeded, ())


def test_a_budget_that_cannot_be_checked_warns(foreign: pytest.Pytester) -> None:
    body = "@pytest.mark.energy(gpu_joules=5)\ndef test_it(): burn(0.01)"
    shown, (entry,) = run(foreign, body)
    assert "1 passed, 1 warning" in shown
    assert "EnergyBudgetWarning: the budget of 5 J for the GPU was not checked: gpu:" in shown
    assert entry["gpu_joules"] is None
    assert entry["budget"]["unchecked"]


@pytest.mark.parametrize("asked", ["--energy-strict", "-Werror"])
def test_a_budget_that_cannot_be_checked_fails_where_that_is_asked(
    foreign: pytest.Pytester, asked: str
) -> None:
    body = """
@pytest.mark.energy(cpu_joules=5)
def test_it(): burn(0.01)
@pytest.mark.energy
def test_without_budget(): burn(0.01)
"""
    shown, _ = run(foreign, body, asked)
    assert "1 failed, 1 passed" in shown
    assert "\nthe budget of 5 J for the CPU was not checked: " in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("gpu_jules=5", "'gpu_jules' is no argument; did you mean 'gpu_joules'?"),
        ("5", "name its arguments: gpu_joules, cpu_joules, repeat"),
        ("cpu_joules=0", "cpu_joules: must be a number of joules above 0, is 0"),
        ("cpu_joules=float('nan')", "cpu_joules: must be a number of joules above 0, is nan"),
        ("cpu_joules=10**400", "cpu_joules: must be a number of joules above 0, is 1000"),
        ("repeat=True", "repeat: must be a whole number from 1 to 1000, is True"),
    ],
)
def test_a_marker_that_means_nothing_fails(
    foreign: pytest.Pytester, arguments: str, said: str
) -> None:
    foreign.makepyfile(BURN + f"@pytest.mark.energy({arguments})\ndef test_it(): pass")
    shown = foreign.runpytest_inprocess("-p", "no:cacheprovider")
    assert shown.parseoutcomes() == {"failed": 1}
    assert f"@pytest.mark.energy: {said}" in shown.stdout.str()


def test_a_budget_of_numpy_is_a_plain_number() -> None:
    """Another cannot be sent from an xdist worker."""
    numbers = {"cpu_joules": numpy.float64(5.0), "gpu_joules": numpy.int64(7)}
    budget, wrong = Budget.of((), numbers)
    assert (budget.cpu_joules, budget.gpu_joules, wrong) == (5.0, 7.0, "")
    assert {type(budget.cpu_joules), type(budget.gpu_joules)} == {float}


def test_a_part_of_a_test_is_measured(counted: pytest.Pytester) -> None:
    shown, (entry,) = run(
        counted,
        """
def test_it(energy):
    burn(0.2)
    with energy.window("inference") as window:
        assert window.cpu_joules is None
        burn(0.3)
    assert 28 < window.cpu_joules < 40, window
    assert window.gpu_joules is None
    assert 0.3 <= window.seconds < 0.4
    assert any("shorter" in flag for flag in window.flags)
""",
        "--junitxml=report.xml",
    )
    assert "1 passed" in shown
    assert "inference" in shown
    assert entry["window"] == "inference"
    properties = ET.parse(counted.path / "report.xml").iter("property")
    values = {one.get("name"): one.get("value") for one in properties}
    assert values["energy_inference_cpu_joules"] == str(entry["cpu_joules"])


def test_windows_may_have_any_name_and_be_entered_again(foreign: pytest.Pytester) -> None:
    """Names that no terminal, no UTF-8 and no table takes; and that of the marker's own line."""
    body = """
@pytest.mark.energy
def test_it(energy):
    part = energy.window("call")
    for _ in range(2):
        with part: pass
    with energy.window("\\x1b[31m\\udcff" + "long" * 500): pass
    energy.window("never entered")
"""
    shown, entries = run(foreign, body, "--junitxml=report.xml")
    assert "1 passed" in shown
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) < 500
    names = ["call", "call", "call", "\ufffd[31m\ufffd" + "long" * 500]
    assert [entry["window"] for entry in entries] == names
    properties = [one.get("name") for one in ET.parse(foreign.path / "report.xml").iter("property")]
    assert properties.count("energy_seconds") == 1
    assert properties.count("energy_call_seconds") == 2


def test_what_concerns_many_is_said_once_whatever_its_numbers() -> None:
    def entry(test: str, *flags: str) -> dict[str, Any]:
        missing = {"gpu_joules": "GPU-1: it was lost; GPU-2: it was lost"}
        window = MeasuredWindow(seconds=0.2, flags=flags, missing=missing)
        return Entry(test, None, [window]).as_dict()

    told = lines(
        [
            entry("a", "package-0: 0.21 s is short", "package-1: 0.21 s is short"),
            entry("b", "package-0: 1e-05 s is short", "GPU-1: it was lost"),
        ]
    )
    assert sorted(told[-3:]) == [
        "gpu_joules not measured: GPU-1: it was lost; GPU-2: it was lost (2 of 2)",
        "package-0: 0.21 s is short (2 of 2)",
        "package-1: 0.21 s is short (1 of 2)",
    ]
    assert len(told) == 6


def test_what_fails_is_reported_too(counted: pytest.Pytester) -> None:
    body = """
@pytest.mark.energy(repeat=3)
def test_it():
    burn(0.5)
    assert 1 == 2
"""
    shown, (entry,) = run(counted, body)
    assert "1 failed" in shown
    assert entry["repetitions"] == 1
    assert entry["cpu_joules"] > 20


def test_a_lost_counter_is_no_number(
    foreign: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, gone = PowercapTree(tmp_path / "sys"), tmp_path / "gone"
    zone = tree.add_package()
    monkeypatch.setenv("WATTEST_SYSFS", str(tree.root))
    monkeypatch.setenv("ZONE", str(zone / "energy_uj"))
    monkeypatch.setenv("GONE", str(gone))
    body = """
import os
@pytest.mark.energy(cpu_joules=500)
def test_it():
    burn(0.3)
    os.rename(os.environ["ZONE"], os.environ["GONE"])
    burn(0.3)
"""
    with PowercapWriter({zone: steady(WATTS)}, {zone: [Event("unlink", 1e9)]}):
        shown, (entry,) = run(foreign, body)
    assert entry["cpu_joules"] is None, entry
    assert "the budget of 500 J for the CPU was not checked: " in shown
    assert entry["missing"]["cpu_joules"]


def test_tests_that_measure_wait_for_each_other(counted: pytest.Pytester) -> None:
    body = """
import json, os, pathlib
@pytest.mark.energy
@pytest.mark.parametrize("n", range(4))
def test_it(n):
    began = time.monotonic()
    burn(0.3)
    pathlib.Path(f"span-{n}.json").write_text(json.dumps([began, time.monotonic(), os.getpid()]))
"""
    shown, entries = run(counted, body, "-n", "2")
    assert "4 passed" in shown
    assert "tests that measure wait for each other" in shown
    assert len(entries) == 4
    spans = sorted(json.loads(file.read_text()) for file in counted.path.glob("span-*.json"))
    assert len({pid for _, _, pid in spans}) == 2
    assert all(one[1] < after[0] for one, after in itertools.pairwise(spans))


def test_counters_that_another_holds_are_named(
    counted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wattest.energy import find_sensors
    from wattest.machine import counters_of, take

    root = Path(os.environ["WATTEST_SYSFS"])
    with find_sensors(root) as sensors:
        counters = counters_of(sensors.findings, root)
        with take(counters):
            body = "@pytest.mark.energy(cpu_joules=500)\ndef test_it(): burn(0.2)"
            shown, (entry,) = run(counted, body, "-o", "energy_wait_seconds=0")
    assert "1 passed, 1 warning" in shown
    assert f"PID {os.getpid()} already measures" in entry["missing"]["cpu_joules"]
    assert entry["seconds"] >= 0.2


def test_who_waits_comes_before_who_has_just_measured(counted: pytest.Pytester) -> None:
    code = (
        "from wattest.pytest_energy.meter import Meter\n"
        "say = lambda text: print(text, flush=True)\n"
        "with Meter(60, say).window() as window: pass\n"
        "say(window.missing)"
    )
    meter, waited = Meter(60, print), []
    with meter.window():
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        waited.append(other.stdout.readline())
    with other, meter.window() as after:
        # The other has measured by now: it had the turn.
        waited.append(other.stdout.readline())
    meter.close()
    assert f"PID {os.getpid()} already measures on intel-rapl:0" in waited[0]
    assert "already measures" not in waited[1]
    assert after.waited_seconds > 0.05


def test_what_ends_in_other_ways_is_told_once_and_as_it_was(foreign: pytest.Pytester) -> None:
    body = """
import unittest
from pathlib import Path
@pytest.mark.energy(cpu_joules=5, repeat=3)
class TestOfUnittest(unittest.TestCase):
    def test_fails(self): self.fail("once")
    def test_is_skipped(self): self.skipTest("not here")
@pytest.mark.energy(repeat=2)
class TestOfAsyncUnittest(unittest.IsolatedAsyncioTestCase):
    async def test_passes(self): pass
@pytest.mark.energy(cpu_joules=5)
def test_fails(): assert "own" == "words"
def test_window(energy):
    with energy.window(Path("part")): pytest.exit("enough")
"""
    shown, entries = run(foreign, body)
    assert "2 failed, 1 passed, 1 skipped" in shown
    assert "error" not in shown.rpartition("\n=")[2]
    assert "During handling" not in shown
    assert [entry["repetitions"] for entry in entries] == [1, 1, 2, 1, 1]
    assert entries[-1]["window"] == "part"


def test_what_cannot_be_opened_or_written_is_told_in_words(counted: pytest.Pytester) -> None:
    (counted.path / "gone").mkdir()
    counted.makepyfile("""
import pathlib, pytest, tempfile
@pytest.fixture
def no_scratch(monkeypatch): monkeypatch.setattr(tempfile, "tempdir", "no folder")
@pytest.mark.energy(cpu_joules=5)
def test_it(no_scratch): pathlib.Path("gone").rmdir()
""")
    arguments = ("-p", "no:cacheprovider", "--energy-report", "gone/energy.json")
    result = counted.runpytest_inprocess(*arguments)
    assert "1 passed, 1 warning" in result.stdout.str()
    assert "not checked: [Errno 2] No such file" in result.stdout.str()
    assert "ERROR: --energy-report: " in result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_who_only_collects_leaves_the_last_report(foreign: pytest.Pytester) -> None:
    foreign.makepyfile("def test_it(): pass")
    (foreign.path / "energy.json").write_text("of before")
    assert foreign.runpytest_inprocess("--collect-only", "--energy-report", "energy.json").ret == 0
    assert (foreign.path / "energy.json").read_text() == "of before"


@pytest.mark.parametrize("name", ["nowhere/energy.json", ".", "/dev/null"])
def test_a_report_needs_a_place_of_its_own(foreign: pytest.Pytester, name: str) -> None:
    result = foreign.runpytest_inprocess("--energy-report", name)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "name a file in a folder that exists" in result.stderr.str()


def test_other_plugins_that_repeat_work_beside_it(counted: pytest.Pytester) -> None:
    body = """
@pytest.mark.energy(repeat=5)
def test_benchmark(benchmark): benchmark.pedantic(burn, (0.1,), rounds=6)
@pytest.mark.energy
@pytest.mark.repeat(2)
def test_repeat(): burn(0.5)
"""
    shown, entries = run(counted, body)
    assert "3 passed" in shown
    assert [entry["repetitions"] for entry in entries] == [1, 1, 1]
    assert all(entry["cpu_joules"] > 20 for entry in entries)


FOREIGN = """
import pytest
def pytest_addoption(parser):
    for name in ("--config", "--seed", "--resume"):
        parser.addoption(name, default="own")
@pytest.fixture
def experiment(request):
    return request.config.getoption("--config") + request.config.getoption("--seed")
"""


def test_an_installed_wattest_changes_nothing_in_a_foreign_project(
    foreign: pytest.Pytester,
) -> None:
    foreign.makeconftest(FOREIGN)
    (foreign.path / "experiments").mkdir()
    test = foreign.path / "experiments" / "test_own.py"
    test.write_text("def test_own(experiment): assert experiment == 'ownown'\n")
    before = sorted(foreign.path.rglob("*"))
    done = pytest_apart(foreign.path, "experiments", "-p", "no:cacheprovider", "-p", "no:benchmark")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "energy" not in done.stdout
    made = {path.name for path in set(foreign.path.rglob("*")) - set(before)}
    assert {name for name in made if not name.endswith(".pyc")} <= {"__pycache__"}


def test_nothing_heavy_is_imported_before_a_test_measures(foreign: pytest.Pytester) -> None:
    foreign.makepyfile(
        """
        import sys
        def test_it():
            heavy = ("numpy", "scipy", "pynvml", "jsonschema", "rich", "wattest.energy")
            assert "wattest.pytest_energy" in sys.modules
            assert [name for name in heavy if name in sys.modules] == []
        """
    )
    done = pytest_apart(foreign.path, "-p", "no:cacheprovider", "-p", "no:xdist")
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def pytest_apart(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as a stranger does, with what is installed and nothing of this checkout."""
    command: Sequence[str] = [sys.executable, "-P", "-m", "pytest", *words]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
