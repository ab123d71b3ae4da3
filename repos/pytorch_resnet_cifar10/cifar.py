"""CIFAR-10 from its Python batches, or the digits in its place.

The format: https://www.cs.toronto.edu/~kriz/cifar.html, "Baseline" and "Dataset layout".
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from batches import Augmentation, Labelled, MemoryImages, Normalisation
from digits import SPLIT_SEED, load_digits, split_by_class
from runtime import TrainingError
from torch import Tensor

SIDE = 32
CLASSES = 10
BATCHES_FOLDER = "cifar-10-batches-py"
TRAINING_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCH = "test_batch"
HELD_OUT_SHARE = 0.1
"""He et al. hold 5,000 of the 50,000 training images out for validation."""
DIGITS_PER_CLASS = {"test": 36, "validation": 18}


@dataclass(frozen=True)
class Split:
    """Training, validation and test data, and how to treat them (batch size as in the paper)."""

    title: str
    training: Labelled
    validation: Labelled
    test: Labelled
    normalise: Normalisation
    augmentation: Augmentation
    batch_size: int


def load(folder: Path | None) -> Split:
    """Load CIFAR-10 from `folder`, or the digits where that is None.

    Raises:
        TrainingError: The folder does not hold the whole data set, or a file is damaged.
    """
    if folder is None:
        return _digits()
    nested = folder / BATCHES_FOLDER
    root = nested if nested.is_dir() else folder
    missing = [name for name in (*TRAINING_BATCHES, TEST_BATCH) if not (root / name).is_file()]
    if missing:
        raise TrainingError(f"no CIFAR-10 Python batches in {root}: {', '.join(missing)} missing")
    return _cifar(root)


def _cifar(root: Path) -> Split:
    parts = [read_batch(root / name) for name in TRAINING_BATCHES]
    images = torch.cat([part[0] for part in parts])
    labels = torch.cat([part[1] for part in parts])
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    held_out = max(1, round(HELD_OUT_SHARE * len(labels)))
    test_images, test_labels = read_batch(root / TEST_BATCH)
    return Split(
        title=f"CIFAR-10 from {root}",
        training=_labelled(images, labels, order[held_out:]),
        validation=_labelled(images, labels, order[:held_out]),
        test=Labelled(MemoryImages(test_images), test_labels),
        normalise=Normalisation.of(images[order[held_out:]]),
        augmentation=Augmentation(padding=4, mirror=True),
        batch_size=128,
    )


def _digits() -> Split:
    images, labels = load_digits(SIDE, channels=3)
    test, validation, training = split_by_class(labels, tuple(DIGITS_PER_CLASS.values()))
    return Split(
        title=f"no CIFAR-10 here, so scikit-learn's {len(labels)} handwritten digits, "
        f"8x8 resized to {SIDE}x{SIDE}x3",
        training=_labelled(images, labels, training),
        validation=_labelled(images, labels, validation),
        test=_labelled(images, labels, test),
        normalise=Normalisation.of(images[training]),
        augmentation=Augmentation(),
        batch_size=32,
    )


def _labelled(images: Tensor, labels: Tensor, indices: Tensor) -> Labelled:
    return Labelled(MemoryImages(images[indices]), labels[indices])


def read_batch(path: Path) -> tuple[Tensor, Tensor]:
    """Return the images of one batch, uint8 [n, 3, 32, 32], and its labels, int64 [n].

    Raises:
        TrainingError: The file is damaged, or is not such a batch.
    """
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file).load()
        fields = {_text(key): value for key, value in content.items()}
        pixels, labels = np.asarray(fields["data"]), np.asarray(fields["labels"])
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


def _text(key: object) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)


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
