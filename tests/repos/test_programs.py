"""The bundled programs as the harness meets them: `train.sh`, its log and its exit code."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from programs import (
    EXAMPLES,
    IGNORED,
    LOG_PATTERNS,
    REGISTRY,
    REID,
    REPOS,
    RESNET,
    mnist_files,
    modules,
    train,
    train_here,
    write_cifar,
)

torch = pytest.importorskip("torch", reason="the bundled programs need torch")
datasets = pytest.importorskip("sklearn.datasets", reason="the bundled programs need scikit-learn")

Training = subprocess.CompletedProcess[str]
Twice = Future[tuple[Training, Training]]


def metrics(repo: str, log: str) -> dict[str, float]:
    """Read the metrics, each of which must stand in the log once and only once."""
    found = {name: re.findall(pattern, log) for name, pattern in LOG_PATTERNS[repo].items()}
    assert {name: len(texts) for name, texts in found.items()} == dict.fromkeys(found, 1)
    return {name: float(texts[0]) for name, texts in found.items()}


def without_times(log: str) -> list[str]:
    """Return the lines whose content the seed determines."""
    lines = [re.sub(r" seconds \d+\.\d$", "", line) for line in log.splitlines()]
    return [line for line in lines if not re.match(r"Epoch \d+/\d+ step|seed |training:", line)]


def epochs_seen(repo: str, log: str) -> list[tuple[str, str]]:
    """Return what the registry's pattern for progress finds, of how many epochs."""
    return re.findall(REGISTRY[repo]["progress"], log)


def train_on_one_thread(repo: str, *arguments: str, **more: Any) -> Training:
    return train(repo, *arguments, OMP_NUM_THREADS="1", **more)


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six tiny batches of noise, in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("cifar of noise")
    write_cifar(folder)
    return folder


# one that exact decimal notation needs, to see that it arrives as it was given
LEARNING_RATE = "5.123456789e-06"


def train_twice(cifar: Path, elsewhere: Path) -> tuple[Training, Training]:
    """Train with a seed that is drawn, and once more with that one, but all else different."""
    tiny = ("-e", "2", "--lr", LEARNING_RATE, "--batch-size", "16", "--device", "cpu")
    first = train_on_one_thread(RESNET, *tiny, "--data", str(cifar))
    seed = re.search(r"^seed (\d+) \(drawn", first.stdout, re.MULTILINE)
    assert seed is not None, first.stdout + first.stderr

    for folder in (RESNET, "common"):
        shutil.copytree(REPOS / folder, elsewhere / folder, ignore=IGNORED)
    shutil.copytree(cifar, elsewhere / RESNET / "data")
    more = ("--seed", seed[1], "--workers", "2")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    return first, train_on_one_thread(RESNET, *tiny, *more, repos=elsewhere, **ascii_only)


@pytest.fixture(scope="module")
def twice(cifar: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twice]:
    """Train twice beside the other tests."""
    elsewhere = tmp_path_factory.mktemp("only one of them")
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool.submit(train_twice, cifar, elsewhere)


@pytest.fixture(autouse=True)
def one_thread(twice: Twice) -> Iterator[None]:
    """Leave the other core to the trainings beside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_resnet20_learns_the_digits_in_one_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    words = "-n resnet20 -e 1 --lr 0.1 --wd 0.0 --seed 3 --batch-size 16 --device cpu"
    train_here(RESNET, *words.split())
    log = capsys.readouterr().out
    found = metrics(RESNET, log)
    assert 40 < found["test_accuracy"] <= 100
    assert 40 < found["best_val_accuracy"] <= 100
    assert epochs_seen(RESNET, log) == [("1", "1")]
    assert "269,722 parameters" in log
    assert "1797 handwritten digits" in log


def test_densenet121_retrieves_digits_after_one_epoch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = datasets.load_digits()
    few = SimpleNamespace(images=digits.images[:900], target=digits.target[:900])
    monkeypatch.setattr(datasets, "load_digits", lambda: few)
    words = "-n densenet121 --total_epoch 1 --droprate 0 --seed 3 --device cpu"
    train_here(REID, *words.split())
    log = capsys.readouterr().out
    found = metrics(REID, log)
    assert 0.5 < found["rank1"] <= found["rank5"] <= 1
    assert 0.2 < found["map"] <= 1
    assert epochs_seen(REID, log) == [("1", "1")]
    assert "6,953,856 of them in the feature part" in log
    assert re.search(r"^Epoch 1/1 step 1/19 train_loss \d", log, re.MULTILINE)


def test_mnist_learns_the_digits(capsys: pytest.CaptureFixture[str]) -> None:
    words = "-n mnist -e 2 -l 0.03 -b 16 --device cpu --seed 1"
    train_here(EXAMPLES, *words.split())
    log = capsys.readouterr().out
    found = metrics(EXAMPLES, log)
    assert 50 < found["test_accuracy"] <= 100
    assert 0 < found["test_loss"] < 1.5
    assert epochs_seen(EXAMPLES, log) == [("1", "2"), ("2", "2")]


def test_a_drawn_seed_repeats_a_result_whatever_the_workers_the_locale_and_the_place(
    twice: Twice, cifar: Path
) -> None:
    here, there = twice.result()
    for done, folder in ((here, cifar), (there, "data")):
        assert (done.returncode, done.stderr) == (0, "")
        assert f" lr {LEARNING_RATE}, wd 0.0001, " in done.stdout
        assert f"data: CIFAR-10 from {folder}\n" in done.stdout
        metrics(RESNET, done.stdout)
    assert without_times(here.stdout.replace(str(cifar), "data")) == without_times(there.stdout)


def test_the_seed_decides_what_is_drawn() -> None:
    def draw(seed: int | None) -> float:
        modules(EXAMPLES).program.start(seed, "cpu")
        return float(torch.rand(()))

    assert draw(8) == draw(8)
    assert len({draw(8), draw(9), draw(None), draw(None)}) == 4


def test_a_training_that_diverges_fails_and_prints_no_metric(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in mnist_files().items():
        (tmp_path / name).write_bytes(content)
    tiny = ("-b", "4", "--data", str(tmp_path), "--device", "cpu")
    with pytest.raises(modules(EXAMPLES).program.TrainingError, match="diverged"):
        train_here(EXAMPLES, "-e", "1", "-l", "1e9", "--seed", "1", *tiny)
    printed = capsys.readouterr().out
    assert "Epoch 1/1 step 1/3" in printed
    assert not any(re.search(p, printed) for p in LOG_PATTERNS[EXAMPLES].values())
