"""MNIST from its idx files, and a small network for it.

The format: http://yann.lecun.com/exdb/mnist/, "FILE FORMATS FOR THE MNIST DATABASE".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from common.images import Data, Normalise
from common.program import TrainingError
from torch import Tensor, nn
from torch.utils.data import TensorDataset

SIDE = 28
CLASSES = 10
FILES = [
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
]
NESTED_FOLDER = Path("MNIST/raw")
UNSIGNED_BYTE = 8
"""The type code of the only element type that MNIST uses."""


def small_network() -> nn.Sequential:
    """Build two convolutions and two linear layers: [n, 1, 28, 28] to [n, 10]."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * (SIDE // 4) ** 2, 64), nn.ReLU(),
        nn.Linear(64, CLASSES),
    )  # fmt: skip


def load(folder: Path) -> Data:
    """Load MNIST.

    Raises:
        TrainingError: The folder does not hold the whole data set, or a file is damaged.
    """
    nested = folder / NESTED_FOLDER
    root = nested if nested.is_dir() else folder
    paths = {name: _find(root, name) for name in FILES}
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        raise TrainingError(f"no MNIST idx files in {root}: {', '.join(missing)} missing")
    arrays = [read_idx(path) for path in paths.values() if path is not None]
    training, test = _labelled("training", *arrays[:2]), _labelled("test", *arrays[2:])
    normalise = Normalise.over(training.tensors[0])
    return Data(f"MNIST from {root}", {"training": training, "test": test}, normalise)


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


def _find(root: Path, name: str) -> Path | None:
    spellings = (name, name.replace("-idx", ".idx"))
    candidates = [root / (spelling + end) for spelling in spellings for end in ("", ".gz")]
    return next((path for path in candidates if path.is_file()), None)


def _labelled(part: str, images: Tensor, labels: Tensor) -> TensorDataset:
    if labels.ndim != 1 or list(images.shape) != [len(labels), SIDE, SIDE]:
        raise TrainingError(
            f"the {part} images are {list(images.shape)} and their labels {list(labels.shape)}, "
            f"not [n, {SIDE}, {SIDE}] and [n]"
        )
    if labels.max() >= CLASSES:
        raise TrainingError(f"a label of the {part} images is {int(labels.max())}")
    return TensorDataset(images.unsqueeze(1), labels.long())
