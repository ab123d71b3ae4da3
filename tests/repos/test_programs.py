"""The bundled programs as the harness meets them: `train.sh`, its log and its exit code."""

from __future__ import annotations

import functools
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from programs import EVERY_PROGRAM, EXAMPLES, REID, REPOS, RESNET, modules, train

torch = pytest.importorskip("torch", reason="the bundled programs need torch")
pytest.importorskip("sklearn", reason="the bundled programs need scikit-learn")
np = pytest.importorskip("numpy", reason="the bundled programs need numpy")

# As they stand in registries that people already have: the programs' output must keep to them.
LOG_PATTERNS = {
    RESNET: {
        "test_accuracy": "测试准确率[:\\s]+([0-9.]+)",
        "best_val_accuracy": "最佳验证准确率[:\\s]+([0-9.]+)",
    },
    REID: {
        "rank1": "Rank@1[:\\s]+([0-9.]+)",
        "rank5": "Rank@5[:\\s]+([0-9.]+)",
        "map": "mAP[:\\s]+([0-9.]+)",
    },
    EXAMPLES: {
        "test_accuracy": "Final Test Accuracy[:\\s]+([0-9.]+)%",
        "test_loss": "Test.*Loss[:\\s]+([0-9.]+)",
    },
}
IGNORED = shutil.ignore_patterns("__pycache__", "data")
MNIST = "-n mnist -e 2 -l 0.03 -b 16 --device cpu"

FAILING = {"diverged": ("-l", "1e9"), "no such folder": ("--data", "/nowhere")}

Training = subprocess.CompletedProcess[str]
StartTraining = Callable[..., Future[Training]]
SHARED_FILES = ("batches.py", "digits.py", "fitting.py", "runtime.py", "train.sh")


def metrics(repo: str, log: str) -> dict[str, float]:
    """Read the metrics, each of which must stand in the log once and only once."""
    found = {name: re.findall(pattern, log) for name, pattern in LOG_PATTERNS[repo].items()}
    assert {name: len(texts) for name, texts in found.items()} == dict.fromkeys(found, 1)
    return {name: float(texts[0]) for name, texts in found.items()}


def without_times(log: str) -> list[str]:
    """Return the lines whose content the seed determines."""
    lines = [re.sub(r" seconds \d+\.\d$", "", line) for line in log.splitlines()]
    return [line for line in lines if not re.match(r"Epoch \d+/\d+ step|seed ", line)]


def epochs_seen(log: str) -> list[tuple[str, str]]:
    return re.findall(r"^Epoch (\d+)/(\d+) train_loss \d+\.\d+ train_accuracy", log, re.MULTILINE)


def train_on_one_thread(repo: str, *arguments: str, **more: Any) -> Training:
    return train(repo, *arguments, OMP_NUM_THREADS="1", **more)


def train_mnist_twice() -> tuple[Training, Training]:
    """Train with a seed that is drawn, and once more with that one."""
    first = train_on_one_thread(EXAMPLES, *MNIST.split())
    seed = re.search(r"^seed (\d+) \(drawn", first.stdout, re.MULTILINE)
    assert seed is not None, first.stdout + first.stderr
    return first, train_on_one_thread(EXAMPLES, *MNIST.split(), "--seed", seed[1])


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    """Yield what runs two trainings at a time."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield pool


@pytest.fixture(scope="module")
def start_training(pool: ThreadPoolExecutor) -> StartTraining:
    """Return what starts a training beside others, each on one thread."""
    return functools.partial(pool.submit, train_on_one_thread)


@dataclass(frozen=True)
class Trainings:
    """The trainings that take long; what fails at once, by the way it fails."""

    reid: Future[Training]
    resnet: Future[Training]
    mnist_twice: Future[tuple[Training, Training]]
    failing: dict[str, Future[Training]]


@pytest.fixture(scope="module")
def trainings(pool: ThreadPoolExecutor, start_training: StartTraining) -> Trainings:
    """Begin all of them, those that take longest first."""
    reid = "-n densenet121 --total_epoch 1 --droprate 0 --seed 3"
    resnet = "-n resnet20 -e 1 --lr 0.1 --wd 0.0 --seed 3 --batch-size 16"
    return Trainings(
        start_training(REID, *reid.split()),
        start_training(RESNET, *resnet.split()),
        pool.submit(train_mnist_twice),
        {
            name: start_training(EXAMPLES, "-e", "1", "--seed", "1", *arguments)
            for name, arguments in FAILING.items()
        },
    )


def test_resnet20_learns_the_digits_in_one_epoch(trainings: Trainings) -> None:
    done = trainings.resnet.result()
    assert (done.returncode, done.stderr) == (0, "")
    found = metrics(RESNET, done.stdout)
    assert 40 < found["test_accuracy"] <= 100
    assert 40 < found["best_val_accuracy"] <= 100
    assert epochs_seen(done.stdout) == [("1", "1")]
    assert "269,722 parameters" in done.stdout
    assert "handwritten digits" in done.stdout


def test_densenet121_retrieves_digits_after_one_epoch(trainings: Trainings) -> None:
    done = trainings.reid.result()
    assert (done.returncode, done.stderr) == (0, "")
    found = metrics(REID, done.stdout)
    assert 0.5 < found["rank1"] <= found["rank5"] <= 1
    assert 0.2 < found["map"] <= 1
    assert epochs_seen(done.stdout) == [("1", "1")]
    assert "6,953,856 of them in the feature part" in done.stdout
    assert re.search(r"^Epoch 1/1 step 1/19 train_loss \d", done.stdout, re.MULTILINE)


def test_mnist_learns_the_digits_and_its_drawn_seed_repeats_it(trainings: Trainings) -> None:
    done, again = trainings.mnist_twice.result()
    assert (done.returncode, done.stderr) == (0, "")
    found = metrics(EXAMPLES, done.stdout)
    assert 50 < found["test_accuracy"] <= 100
    assert 0 < found["test_loss"] < 1.5
    assert epochs_seen(done.stdout) == [("1", "2"), ("2", "2")]
    assert without_times(again.stdout) == without_times(done.stdout)


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six tiny batches of noise, in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("data sets") / "cifar of noise"
    folder.mkdir()
    generator = np.random.default_rng(5)
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        pixels = generator.integers(0, 256, (8, 3072), dtype=np.uint8)
        labels = generator.integers(0, 10, 8).tolist()
        (folder / name).write_bytes(pickle.dumps({b"data": pixels, b"labels": labels}, protocol=2))
    return folder


def test_neither_workers_nor_the_locale_nor_the_place_change_a_result(
    cifar: Path, tmp_path: Path, start_training: StartTraining
) -> None:
    learning_rate = "5.123456789e-06"
    arguments = (
        "-e", "2", "--lr", learning_rate, "--batch-size", "16", "--seed", "8", "--device", "cpu",
    )  # fmt: skip
    from_a_folder = start_training(RESNET, *arguments, "--data", str(cifar))

    alone = tmp_path / "only one" / "of them"
    shutil.copytree(REPOS / RESNET, alone / RESNET, ignore=IGNORED)
    shutil.copytree(cifar, alone / RESNET / "data")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    there = start_training(RESNET, *arguments, "--workers", "2", repos=alone, **ascii_only).result()
    here = from_a_folder.result()

    for done, folder in ((here, cifar), (there, "data")):
        assert (done.returncode, done.stderr) == (0, "")
        assert f"lr {learning_rate}, weight decay 0.0001\n" in done.stdout
        assert f"data: CIFAR-10 from {folder}\n" in done.stdout
        metrics(RESNET, done.stdout)
    assert without_times(here.stdout.replace(str(cifar), "data")) == without_times(there.stdout)


@pytest.mark.parametrize("repo", EVERY_PROGRAM)
def test_the_seed_decides_what_is_drawn(repo: str) -> None:
    def draw(seed: int | None) -> float:
        runtime = modules(repo).runtime
        runtime.start(runtime.CommonOptions("any", 1, 0.1, 2, seed, "cpu", None))
        return float(torch.rand(()))

    assert draw(8) == draw(8)
    assert len({draw(8), draw(9), draw(None), draw(None)}) == 4


@pytest.mark.parametrize(
    ("repo", "arguments", "said"),
    [
        (RESNET, ("-n", "resnet18"), "resnet18"),
        (RESNET, ("-e", "0"), "-e/--epochs"),
        (RESNET, ("-e", "1.5"), "-e/--epochs"),
        (RESNET, ("--lr", "nan"), "--lr"),
        (RESNET, ("--lr", "inf"), "--lr"),
        (RESNET, ("--lr", "-0.1"), "--lr"),
        (RESNET, ("--wd", "-1"), "--wd"),
        (RESNET, ("--seed", "-1"), "--seed"),
        (RESNET, ("--batch-size", "1"), "--batch-size"),
        (RESNET, ("--workers", "two"), "--workers"),
        (RESNET, ("--learning_rate", "0.1"), "--learning_rate"),
        (RESNET, ("extra\nline",), "extra line"),
        (REID, ("-n", "hrnet18"), "not bundled"),
        (REID, ("-n", "pcb"), "not bundled"),
        (REID, ("--droprate", "1"), "--droprate"),
        (REID, ("--total", "3"), "--total"),
        (EXAMPLES, ("-n", "mnist_rnn"), "not bundled"),
        (EXAMPLES, ("-n", "siamese"), "not bundled"),
        (EXAMPLES, ("-l", "0"), "-l/--lr"),
        (EXAMPLES, ("-b",), "-b/--batch-size"),
    ],
)
def test_a_wrong_flag_is_answered_in_one_line(
    repo: str, arguments: tuple[str, ...], said: str
) -> None:
    done = train(repo, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("said", FAILING)
def test_a_failed_training_prints_no_metric_and_one_line(trainings: Trainings, said: str) -> None:
    done = trainings.failing[said].result()
    assert done.returncode == 1
    assert not any(re.search(p, done.stdout) for p in LOG_PATTERNS[EXAMPLES].values())
    assert re.fullmatch(rf"error: .*{said}.*\n", done.stderr)


@pytest.mark.parametrize("repo", EVERY_PROGRAM)
def test_an_empty_data_folder_is_an_error_and_not_the_digits(repo: str, tmp_path: Path) -> None:
    program = modules(repo)
    loader = {RESNET: "cifar", REID: "market", EXAMPLES: "mnist"}[repo]
    with pytest.raises(program.runtime.TrainingError, match="missing"):
        getattr(program, loader).load(tmp_path)


@pytest.mark.parametrize("repo", EVERY_PROGRAM)
def test_an_interpreter_without_torch_is_named(repo: str, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    done = train(repo, PYTHON=str(bare), PYTHONPATH="")
    assert done.returncode == 1
    assert re.fullmatch(r"error: No module named 'torch'; install it for .*\n", done.stderr)


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "cuda:x", "meta", ""])
def test_an_impossible_device_is_refused(device: str) -> None:
    runtime = modules(EXAMPLES).runtime
    options = runtime.CommonOptions("mnist", 1, 0.1, 2, 1, device, None)
    with pytest.raises(runtime.TrainingError, match="--device"):
        runtime.start(options)


def test_the_gpu_memory_limit_is_a_share_of_the_memory() -> None:
    runtime = modules(EXAMPLES).runtime
    assert runtime.memory_fraction("2048", 8 * 2**30) == 0.25
    assert runtime.memory_fraction("99999", 8 * 2**30) == 1
    for wrong in ("0", "-1", "1.5", "much", "²"):
        with pytest.raises(runtime.TrainingError, match="WATTEST_GPU_MEMORY_LIMIT_MB"):
            runtime.memory_fraction(wrong, 8 * 2**30)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the programs under a path with spaces."""
    root = tmp_path / "my project"
    shutil.copytree(REPOS, root / "repos", ignore=IGNORED)
    return root


def interpreter(path: Path) -> Path:
    """Make a program that prints its name, folder, PID, OpenMP policy and arguments."""
    path.parent.mkdir(parents=True)
    path.write_text('#!/bin/bash\nprintf "%s\\n" "$0" "$PWD" $$ "$OMP_WAIT_POLICY" "$@"\n')
    path.chmod(0o755)
    return path


def start(
    project: Path, *arguments: str, cwd: Path, program: str = EXAMPLES, **environment: str
) -> tuple[int, list[str]]:
    """Run a copied `train.sh` with nothing but the given environment; return PID and lines."""
    with subprocess.Popen(
        [project / "repos" / program / "train.sh", *arguments],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", **environment},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return process.pid, output.splitlines()


@pytest.mark.parametrize("program", EVERY_PROGRAM)
def test_train_sh_becomes_the_interpreter_and_passes_arguments_as_they_are(
    project: Path, tmp_path: Path, program: str
) -> None:
    python = interpreter(tmp_path / "some where" / "python")
    arguments = ["--lr", "5.123456789e-06", "", "a b", "$(touch x)", "*"]
    pid, lines = start(project, *arguments, cwd=tmp_path, program=program, PYTHON=str(python))
    folder = project / "repos" / program
    assert lines == [str(python), str(folder), str(pid), "PASSIVE", "train.py", *arguments]
    assert not (folder / "x").exists()


def test_python_may_be_relative_to_the_callers_folder(project: Path, tmp_path: Path) -> None:
    python = interpreter(tmp_path / "bin dir" / "python")
    _, lines = start(project, cwd=tmp_path, PYTHON="bin dir/python", OMP_WAIT_POLICY="ACTIVE")
    assert lines[0] == str(python)
    assert lines[3] == "ACTIVE"


def test_the_projects_environment_comes_before_python3_on_the_path(
    project: Path, tmp_path: Path
) -> None:
    on_path = interpreter(tmp_path / "path" / "python3")
    search = f"{on_path.parent}:/usr/bin:/bin"
    assert start(project, cwd=tmp_path, PATH=search)[1][0] == str(on_path)
    own = interpreter(project / ".venv" / "bin" / "python")
    assert Path(start(project, cwd=tmp_path, PATH=search)[1][0]).resolve() == own


@pytest.mark.parametrize("name", SHARED_FILES)
def test_what_the_programs_share_is_the_same_in_each(name: str) -> None:
    contents = {(REPOS / repo / name).read_bytes() for repo in EVERY_PROGRAM}
    assert len(contents) == 1
