"""Fixtures of the harness's own tests: a small project in which real experiments run in no time."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import resource
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes.powercap import PowercapTree, PowercapWriter
from fakes.profile import steady

from wattest.config.schema import schema_faults
from wattest.plan.experiment import Plan
from wattest.plan.load import Places, load_campaign

# Not in the conftest.py of the house: a campaign that measures has no use for it.
pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]

# The suite starts hundreds of interpreters; without kept bytecode each would compile everything.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# And they buffer their output as those of most users do.
os.environ.pop("PYTHONUNBUFFERED", None)
# Nor is what they start one of the workers that may run the suite.
for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
    del os.environ[name]
# No test meets a real GPU: trainings of a blink are too short for its counter.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
# Nor a real Slurm: its commands wait for seconds where no controller answers.
for name in [name for name in os.environ if name.startswith("SLURM_")]:
    del os.environ[name]
# Shells start what is in the background with this signal ignored; tests send it to what they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Trains nothing, but behaves as told: prints metrics, fails, waits, floods.
PROGRAM = """\
#!{python}
import os, sys, time
args = dict(zip(sys.argv[1::2], sys.argv[2::2]))
print("argv", *sys.argv[1:], sep="|")
seconds = float(args.get("--seconds", "0.2"))
end = time.monotonic() + seconds
epoch = 0
while time.monotonic() < end:
    sum(range(20000))
    epoch += 1
    if epoch % 50 == 0:
        print("Epoch", epoch, flush=True)
if args.get("--metric", "1") == "1":
    print("Accuracy: 91.5")
sys.exit(int(args.get("--exit", "0")))
"""


# How a project's conftest.py makes things happen in time.
INTERFERE = """
import os, signal
import wattest.{module} as module
_whole = module.{name}
def _interfere(*words):
    {before}
    return _whole(*words)
module.{name} = _interfere
"""


def parameter(flag: str, kind: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    """Return a registry's definition of one hyper-parameter."""
    return {"flag": flag, "type": kind, "range": [low, high], "default": None, **more}


def toy_registry() -> dict[str, Any]:
    """Return a registry with the programs ``toy`` (measured) and ``busy`` (load)."""
    hyperparameters = {
        "learning_rate": parameter(
            "--lr", "float", 1e-6, 0.5, distribution="log_uniform", default=0.1
        ),
        "epochs": parameter("-e", "int", 1, 20, distribution="uniform", default=10),
        "seconds": parameter("--seconds", "float", 0.1, 60.0),
        "exit": parameter("--exit", "int", 0, 255),
        "metric": parameter("--metric", "int", 0, 1),
    }
    program = {
        "path": "repos/toy",
        "train_script": "./train.sh",
        "models": ["small", "large"],
        "model_flag": "-n",
        "supported_hyperparams": hyperparameters,
        "performance_metrics": {"log_patterns": {"accuracy": r"Accuracy[:\s]+([0-9.]+)"}},
    }
    return {"models": {"toy": program, "busy": program}}


# Entries of settings files: a training of a blink, and a load that outlives what it is beside.
TOY: dict[str, Any] = {"repo": "toy", "model": "small", "hyperparameters": {"seconds": 0.1}}
LOAD: dict[str, Any] = {"repo": "busy", "model": "large", "hyperparameters": {"seconds": 30}}


def await_until(holds: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


@contextmanager
def room_for(most_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


_PYTEST = (sys.executable, "-m", "pytest")


def quick_pytest(*arguments: str) -> list[str]:
    """Return a command that starts pytest quickly."""
    return [*_PYTEST, *quick_words(*arguments)]


def quick_words(*arguments: str) -> list[str]:
    """Return arguments for a quick pytest: without its cache, and xdist where not asked."""
    without_xdist = [] if {"-n", "--tx"} & set(arguments) else ["-p", "no:xdist"]
    return ["-p", "no:cacheprovider", *without_xdist, *arguments]


class Project:
    """A copy of the house with toy programs, in which tests run real pytest."""

    def __init__(self, path: Path, pytester: pytest.Pytester | None = None) -> None:
        self.path = path
        self.pytester = pytester
        for name in ("conftest.py", "pytest.ini"):
            shutil.copy(ROOT / name, self.path / name)
        for name in ("fixtures", "experiments"):
            shutil.copytree(
                ROOT / name, self.path / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        self.program("toy", PROGRAM.format(python=sys.executable))
        self.registry(toy_registry())

    def program(self, name: str, text: str) -> Path:
        """Write an executable training script for the repository `name`.

        A script of this very Python is started by a shell, since the path of an interpreter in a
        script's first line may hold no space.
        """
        script = self.path / "repos" / name / "train.sh"
        script.parent.mkdir(parents=True, exist_ok=True)
        text = textwrap.dedent(text)
        if text.startswith(f"#!{sys.executable}\n"):
            script.with_name("train.py").write_text(text, encoding="utf-8")
            text = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} train.py "$@"\n'
        script.write_text(text, encoding="utf-8")
        script.chmod(script.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        return script

    def load(self, text: str) -> Path:
        """Let the program ``busy``, the load, be this training script."""
        self.describe("busy", path="repos/busy")
        return self.program("busy", text)

    def describe(self, name: str, **entry: Any) -> None:
        """Write the registry, in which this is said of a program, and of others what is usual."""
        registry = toy_registry()
        registry["models"][name] = {**registry["models"][name], **entry}
        self.registry(registry)

    def registry(self, document: Mapping[str, Any]) -> Path:
        """Write the registry."""
        return self._json("config/models_config.json", document)

    def settings(self, *entries: Mapping[str, Any], **top: Any) -> Path:
        """Write settings with these entries."""
        document = {"max_retries": 0, "startup_seconds": 0.3, "experiments": list(entries), **top}
        return self._json("settings/test.json", document)

    def run(self, *arguments: str, timeout: float = 60) -> pytest.RunResult:
        """Run the experiments in a pytest that is a process of its own."""
        assert self.pytester is not None
        return self.pytester.run(*_PYTEST, *self._words(*arguments), timeout=timeout)

    def run_here(self, *arguments: str) -> pytest.RunResult:
        """Run the experiments in a pytest in this process, which saves half a second."""
        assert self.pytester is not None
        return self.pytester.runpytest_inprocess(*self._words(*arguments))

    def refusal(self, *arguments: str) -> pytest.RunResult:
        """Run the experiments in a pytest in this process, which must refuse them."""
        result = self.run_here(*arguments)
        assert result.ret == pytest.ExitCode.USAGE_ERROR, result.stdout.str()
        assert "Traceback" not in result.stdout.str() + result.stderr.str()
        return result

    def _words(self, *arguments: str) -> list[str]:
        words = quick_words(*arguments)
        if not any(argument.startswith("--config") for argument in arguments):
            words += ["--config", "settings/test.json"]
        if not any("experiments" in argument for argument in arguments):
            words.append("experiments")
        return words

    def run_apart(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the experiments as threads may do at once: here nothing is patched for them."""
        return subprocess.run(
            [*_PYTEST, *self._words(*arguments)],
            cwd=self.path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT / "src"),
                "WATTEST_LOCK_DIR": str(self.path / "locks"),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
            check=False,
        )

    def record(self, output: str = "") -> dict[str, Any]:
        """Return the only record, which must be valid; say this output where there is none."""
        records = self.records()
        assert len(records) == 1, output
        assert schema_faults(records[0], "result", "record") == []
        return records[0]

    def rows(self, *, newest: bool = False) -> list[dict[str, str]]:
        """Return the rows in the CSV of the only session, or of the one that began last."""
        found = (self.path / "results" / "sessions").glob("*/experiments.csv")
        files = sorted(found, key=lambda file: file.stat().st_mtime_ns)
        assert newest or len(files) == 1, files
        with files[-1].open(encoding="utf-8", newline="") as lines:
            return list(csv.DictReader(lines))

    def plan(self, *, resume: bool = False) -> Plan:
        """Return the plan of the settings; with `resume`, what a resumed session goes on with."""
        places, results = Places(self.path, self.path), self.path / "results"
        return load_campaign(places, "settings/test.json", None, None, results, resume=resume).plan

    def interfere(self, place: str, before: str) -> None:
        """Let something happen in this project's sessions whenever a function is called, before it.

        `place` is the function, such as ``records.table:Table.add``.
        """
        module, _, name = place.partition(":")
        with (self.path / "conftest.py").open("a", encoding="utf-8") as file:
            file.write(INTERFERE.format(module=module, name=name, before=before))

    def records(self) -> list[dict[str, Any]]:
        """Return all records, oldest first."""
        files = sorted((self.path / "results").glob("*.json"))
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]

    def _json(self, name: str, document: Mapping[str, Any]) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document), encoding="utf-8")
        return path


@pytest.fixture(scope="session", autouse=True)
def no_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the commands of Slurm fail at once; who plays them puts others before them."""
    folder, path = tmp_path_factory.mktemp("no_slurm"), os.environ["PATH"]
    for command in ("sbatch", "scontrol", "squeue"):
        script = folder / command
        script.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        script.chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{path}"
    yield
    os.environ["PATH"] = path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Where several workers run the suite, let a test wait for its turn before it begins."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    is_alone = "alone" in getattr(item, "fixturenames", ())
    # The workers' folders lie side by side in that of the run.
    with (Path(item.config.option.basetemp).parent / "turn.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        try:
            return (yield)
        finally:
            # What a test has forked may still have it open.
            fcntl.flock(lock, fcntl.LOCK_UN)


@pytest.fixture
def alone() -> None:
    """Let no other worker run a test meanwhile.

    For tests that leave behind on purpose what any session would end, and for those whose numbers
    need a machine of their own.
    """


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a fresh project, whose pytest imports this checkout's framework.

    It sees no sensor of the machine below, unless it is given another root for `/sys`.
    """
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src")]))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (pytester.path / "no_sysfs").mkdir()
    monkeypatch.setenv("WATTEST_SYSFS", str(pytester.path / "no_sysfs"))
    monkeypatch.setenv("WATTEST_LOCK_DIR", str(pytester.path / "locks"))
    return Project(pytester.path, pytester)


@pytest.fixture
def sysfs(tmp_path: Path) -> Iterator[Path]:
    """Yield a tree like /sys with one CPU package at 50 W."""
    tree = PowercapTree(tmp_path / "sys")
    with PowercapWriter({tree.add_package(): steady(50)}):
        yield tree.root
