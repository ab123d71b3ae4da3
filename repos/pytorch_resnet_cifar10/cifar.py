"""CIFAR-10 from its Python batches.

The format: https://www.cs.toronto.edu/~kriz/cifar.html, "Baseline" and "Dataset layout".
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from common.images import SPLIT_SEED, Data, Normalise
from common.program import TrainingError
from torch import Tensor
from torch.utils.data import TensorDataset

SIDE = 32
CLASSES = 10
BATCHES_FOLDER = "cifar-10-batches-py"
TRAINING_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCH = "test_batch"
HELD_OUT_SHARE = 0.1
"""He et al. hold 5,000 of the 50,000 training images out for validation."""


def load(folder: Path) -> Data:
    """Load CIFAR-10.

    Raises:
        TrainingError: The folder does not hold the whole data set, or a file is damaged.
    """
    nested = folder / BATCHES_FOLDER
    root = nested if nested.is_dir() else folder
    missing = [name for name in (*TRAINING_BATCHES, TEST_BATCH) if not (root / name).is_file()]
    if missing:
        raise TrainingError(f"no CIFAR-10 Python batches in {root}: {', '.join(missing)} missing")
    batches = [read_batch(root / name) for name in TRAINING_BATCHES]
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    held_out = max(1, round(HELD_OUT_SHARE * len(labels)))
    validation, training = order[:held_out], order[held_out:]
    parts = {
        "training": TensorDataset(images[training], labels[training]),
        "validation": TensorDataset(images[validation], labels[validation]),
        "test": TensorDataset(*read_batch(root / TEST_BATCH)),
    }
    return Data(f"CIFAR-10 from {root}", parts, Normalise.over(images[training]), padding=4)


def read_batch(path: Path) -> tuple[Tensor, Tensor]:
    """Return the images of one batch, uint8 [n, 3, 32, 32], and its labels, int64 [n].

    Raises:
        TrainingError: The file is damaged, or is not such a batch.
    """
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file).load()
        pixels, labels = np.asarray(content[b"data"]), np.asarray(content[b"labels"])
    except (
        pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, ImportError,
        LookupError, TypeError, ValueError,
    ) as fault:  # fmt: skip
        raise TrainingError(f"{path} is not a CIFAR-10 batch: {fault}") from fault
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not labels.size:
        raise TrainingError(f"{path}: labels are not a list of whole numbers")
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise TrainingError(f"{path}: a label lies outside 0 to {CLASSES - 1}")
    if pixels.dtype != np.uint8 or pixels.shape != (labels.size, 3 * SIDE * SIDE):
        shape = f"{pixels.dtype}{list(pixels.shape)}"
        raise TrainingError(f"{path}: data are {shape}, not uint8[{labels.size}, 3072]")
    images = torch.tensor(pixels).reshape(-1, 3, SIDE, SIDE)
    return images, torch.tensor(labels, dtype=torch.int64)


class _ArrayUnpickler(pickle.Unpickler):
    """Builds arrays and nothing else: a pickle may otherwise run any code."""

    _NAMES = frozenset({"_reconstruct", "_frombuffer", "ndarray", "dtype", "scalar"})

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="bytes")  # the original batches were written by Python 2

    def find_class(self, module: str, name: str) -> object:
        is_array = module.split(".")[0] == "numpy" and name in self._NAMES
        if is_array or (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it wants {module}.{name}")
