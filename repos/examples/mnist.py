"""MNIST from its idx files, or the digits in their place, and a small network for both.

The format: http://yann.lecun.com/exdb/mnist/, "FILE FORMATS FOR THE MNIST DATABASE".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from batches import Labelled, MemoryImages, Normalisation
from digits import load_digits, split_by_class
from runtime import TrainingError
from torch import Tensor, nn

SIDE = 28
CLASSES = 10
FILES = {
    "training images": "train-images-idx3-ubyte",
    "training labels": "train-labels-idx1-ubyte",
    "test images": "t10k-images-idx3-ubyte",
    "test labels": "t10k-labels-idx1-ubyte",
}
NESTED_FOLDER = Path("MNIST/raw")
UNSIGNED_BYTE = 8
"""The type code of the only element type that MNIST uses."""
DIGITS_PER_CLASS_TO_TEST = 36


@dataclass(frozen=True)
class Split:
    """Training and test data."""

    title: str
    training: Labelled
    test: Labelled
    normalise: Normalisation


def small_network() -> nn.Sequential:
    """Build two convolutions and two linear layers: [n, 1, 28, 28] to [n, 10]."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * (SIDE // 4) ** 2, 64), nn.ReLU(),
        nn.Linear(64, CLASSES),
    )  # fmt: skip


def load(folder: Path | None) -> Split:
    """Load MNIST from `folder`, or the digits where that is None.

    Raises:
        TrainingError: The folder does not hold the whole data set, or a file is damaged.
    """
    if folder is None:
        return _digits()
    nested = folder / NESTED_FOLDER
    root = nested if nested.is_dir() else folder
    paths = {part: _find(root, name) for part, name in FILES.items()}
    missing = [FILES[part] for part, path in paths.items() if path is None]
    if missing:
        raise TrainingError(f"no MNIST idx files in {root}: {', '.join(missing)} missing")
    parts = {part: read_idx(path) for part, path in paths.items() if path is not None}
    images, labels = parts["training images"], parts["training labels"]
    return Split(
        title=f"MNIST from {root}",
        training=_labelled(images, labels, "training"),
        test=_labelled(parts["test images"], parts["test labels"], "test"),
        normalise=Normalisation.of(images.unsqueeze(1)),
    )


def read_idx(path: Path) -> Tensor:
    """Return the array of one idx file, plain or gzip, as uint8.

    Raises:
        TrainingError: The file is damaged, or holds another type.
    """
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as fault:
            raise TrainingError(f"{path} is not a gzip file: {fault}") from fault
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE:
        raise TrainingError(f"{path} is not an idx file of unsigned bytes")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise TrainingError(f"{path} ends within its header")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if not len(content) - start == math.prod(shape) > 0:
        raise TrainingError(
            f"{path} holds {len(content) - start} bytes, but its header says {list(shape)}"
        )
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).reshape(shape)


def _digits() -> Split:
    images, labels = load_digits(SIDE, channels=1)
    test, training = split_by_class(labels, (DIGITS_PER_CLASS_TO_TEST,))
    return Split(
        title=f"no MNIST here, so scikit-learn's {len(labels)} handwritten digits, "
        f"8x8 resized to {SIDE}x{SIDE}",
        training=Labelled(MemoryImages(images[training]), labels[training]),
        test=Labelled(MemoryImages(images[test]), labels[test]),
        normalise=Normalisation.of(images[training]),
    )


def _find(root: Path, name: str) -> Path | None:
    spellings = (name, name.replace("-idx", ".idx"))
    candidates = [root / (spelling + end) for spelling in spellings for end in ("", ".gz")]
    return next((path for path in candidates if path.is_file()), None)


def _labelled(images: Tensor, labels: Tensor, part: str) -> Labelled:
    if labels.ndim != 1 or list(images.shape) != [len(labels), SIDE, SIDE]:
        raise TrainingError(
            f"the {part} images are {list(images.shape)} and their labels {list(labels.shape)}, "
            f"not [n, {SIDE}, {SIDE}] and [n]"
        )
    if labels.max() >= CLASSES:
        raise TrainingError(f"a label of the {part} images is {int(labels.max())}")
    return Labelled(MemoryImages(images.unsqueeze(1)), labels.long())
