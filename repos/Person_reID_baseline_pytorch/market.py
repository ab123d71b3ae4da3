"""Market-1501 from its folders.

The layout and the file names: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV
2015; `0002_c1s1_000451_03.jpg` is identity 2 seen by camera 1.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from common.images import Data, Normalise
from common.program import TrainingError
from retrieval import JUNK
from torch import Tensor
from torch.utils.data import Dataset

FOLDERS = {"training": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
HEIGHT, WIDTH = 256, 128
FILE_NAME = re.compile(r"(-1|\d+)_c(\d+)")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
IMAGENET_MEANS = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_DEVIATIONS = (0.229 * 255, 0.224 * 255, 0.225 * 255)
"""Channel statistics of photographs, as is usual for person re-identification."""


@dataclass(frozen=True)
class Photographs(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Images that are read from files when they are asked for, with identities and cameras."""

    paths: Sequence[Path]
    identities: Tensor
    cameras: Tensor

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        images = torch.stack([_read(self.paths[index]) for index in indices.tolist()])
        return images, self.identities[indices], self.cameras[indices]


def load(folder: Path) -> Data:
    """Load Market-1501; each part holds images, identities (in training from 0), and cameras.

    Raises:
        TrainingError: The folder does not hold the whole data set, or Pillow is missing.
    """
    missing = [name for name in FOLDERS.values() if not (folder / name).is_dir()]
    if missing:
        raise TrainingError(f"no Market-1501 in {folder}: {', '.join(missing)} missing")
    if importlib.util.find_spec("PIL") is None:
        raise TrainingError("reading Market-1501 needs Pillow: pip install pillow")
    parts = {part: _photographs(folder / name) for part, name in FOLDERS.items()}
    known, classes = parts["training"].identities.unique(return_inverse=True)
    if len(known) < 2 or JUNK in known:
        raise TrainingError(
            f"{folder / FOLDERS['training']}: expected two or more identities, no junk"
        )
    parts["training"] = replace(parts["training"], identities=classes)
    normalise = Normalise(IMAGENET_MEANS, IMAGENET_DEVIATIONS)
    return Data(f"Market-1501 from {folder}", parts, normalise, len(known), padding=10)


def _photographs(folder: Path) -> Photographs:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise TrainingError(f"{folder}: there are no images")
    numbers = []
    for path in paths:
        match = FILE_NAME.match(path.name)
        if match is None:
            raise TrainingError(f"{path}: the name does not tell identity and camera")
        numbers.append((int(match[1]), int(match[2])))
    return Photographs(paths, *torch.tensor(numbers).unbind(1))


def _read(path: Path) -> Tensor:
    from PIL import Image

    try:
        with Image.open(path) as file:
            image = file.convert("RGB").resize((WIDTH, HEIGHT))
    except (OSError, SyntaxError, ValueError) as fault:  # Pillow reports damage as any of these
        raise TrainingError(f"{path} cannot be read as an image: {fault}") from fault
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.reshape(HEIGHT, WIDTH, 3).permute(2, 0, 1)
