"""Access of the tests to the bundled programs: their modules, and their trainings."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

REPOS = Path(__file__).parents[1] / "repos"
RESNET = "pytorch_resnet_cifar10"
REID = "Person_reID_baseline_pytorch"
EXAMPLES = "examples"
EVERY_PROGRAM = (RESNET, REID, EXAMPLES)
REGISTRY = json.loads((REPOS.parent / "config/models_config.json").read_text("utf-8"))["models"]
IGNORED = shutil.ignore_patterns("__pycache__", "data")

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


@functools.cache
def modules(repo: str) -> SimpleNamespace:
    """Import all modules of one program and those that it shares, each under its name."""
    shared = [f"common.{name}" for name in _stems(REPOS / "common") if name != "__init__"]
    with _importable(repo):
        names = [*shared, *_stems(REPOS / repo)]
        return SimpleNamespace(
            **{name.rpartition(".")[2]: importlib.import_module(name) for name in names}
        )


def train_here(repo: str, *arguments: str) -> None:
    """Run a training to its end in the process of the tests."""
    with _importable(repo):
        program = importlib.import_module("train")
        program.train(program.flags().parse_args(arguments))


@contextlib.contextmanager
def _importable(repo: str) -> Iterator[None]:
    """Let a program's modules be imported: programs use the same names, so not for longer."""
    before = sys.path.copy()
    sys.path[:0] = [str(REPOS / repo), str(REPOS)]
    try:
        yield
    finally:
        sys.path[:] = before
        for name in _stems(REPOS / repo):
            sys.modules.pop(name, None)


def _stems(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.py"))


def write_cifar(folder: Path) -> None:
    """Write batches like those of CIFAR-10, of eight images of noise each."""
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for seed, name in enumerate(names):
        # protocol 2 is that of the published files
        (folder / name).write_bytes(pickle.dumps(cifar_fields(seed), protocol=2))


def cifar_fields(seed: int) -> dict[bytes, Any]:
    """Return what a batch of noise holds."""
    import numpy as np

    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (8, 3072), dtype=np.uint8)
    return {b"data": pixels, b"labels": generator.integers(0, 10, 8).tolist()}


def idx(array: Any) -> bytes:
    """Return an idx file of bytes."""
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes((0, 0, 8, array.ndim)) + shape + array.tobytes()


def mnist_files() -> dict[str, bytes]:
    """Return files like those of MNIST: twelve images of noise to train on, four to test."""
    import numpy as np

    generator = np.random.default_rng(7)
    return {
        "train-images-idx3-ubyte": idx(generator.integers(0, 256, (12, 28, 28), dtype=np.uint8)),
        "train-labels-idx1-ubyte": idx(np.arange(12, dtype=np.uint8) % 10),
        "t10k-images-idx3-ubyte": idx(generator.integers(0, 256, (4, 28, 28), dtype=np.uint8)),
        "t10k-labels-idx1-ubyte": idx(np.array([3, 1, 4, 1], dtype=np.uint8)),
    }


def train(
    repo: str, *arguments: str, repos: Path = REPOS, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a training to its end with the interpreter of the tests, or the given `PYTHON`."""
    return subprocess.run(
        [repos / repo / "train.sh", *arguments],
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
