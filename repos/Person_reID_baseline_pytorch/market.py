"""Market-1501 from its folders, or the digits in its place.

The layout and the file names: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV
2015; `0002_c1s1_000451_03.jpg` is identity 2 seen by camera 1.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from batches import Augmentation, Labelled, MemoryImages, Normalisation
from digits import load_digits, split_by_class
from retrieval import JUNK
from runtime import TrainingError
from torch import Tensor

TRAINING_FOLDER, QUERY_FOLDER, GALLERY_FOLDER = "bounding_box_train", "query", "bounding_box_test"
HEIGHT, WIDTH = 256, 128
FILE_NAME = re.compile(r"(-1|\d+)_c(\d+)")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
IMAGENET = Normalisation(
    means=(0.485 * 255, 0.456 * 255, 0.406 * 255),
    deviations=(0.229 * 255, 0.224 * 255, 0.225 * 255),
)
"""Channel statistics of photographs (ImageNet), as is usual for person re-identification."""

DIGITS_SIDE = 32
DIGITS_PER_IDENTITY = {"query": 20, "training": 60}
"""The other 997 digits are the gallery; as in Market-1501 it is larger than the training set."""


@dataclass(frozen=True)
class Photographs:
    """Images with their identities, and the camera of each, int64 [n]."""

    labelled: Labelled
    cameras: Tensor


@dataclass(frozen=True)
class Split:
    """What to train on (identities counted from 0), what to retrieve, and how to treat both."""

    title: str
    training: Labelled
    identities: int
    query: Photographs
    gallery: Photographs
    normalise: Normalisation
    augmentation: Augmentation


@dataclass(frozen=True)
class FileImages:
    """Images that are read from files when they are asked for."""

    paths: tuple[Path, ...]

    def load(self, indices: Tensor) -> Tensor:
        """Return the images at `indices`, resized to 256x128.

        Raises:
            TrainingError: A file is not an image.
        """
        return torch.stack([_read(self.paths[index]) for index in indices.tolist()])


def load(folder: Path | None) -> Split:
    """Load Market-1501 from `folder`, or the digits where that is None.

    Raises:
        TrainingError: The folder does not hold the whole data set, or Pillow is missing.
    """
    if folder is None:
        return _digits()
    names = (TRAINING_FOLDER, QUERY_FOLDER, GALLERY_FOLDER)
    missing = [name for name in names if not (folder / name).is_dir()]
    if missing:
        raise TrainingError(f"no Market-1501 in {folder}: {', '.join(missing)} missing")
    if importlib.util.find_spec("PIL") is None:
        raise TrainingError("reading Market-1501 needs Pillow: pip install pillow")
    return _market(folder)


def _market(folder: Path) -> Split:
    training = _photographs(folder / TRAINING_FOLDER)
    known, classes = training.labelled.labels.unique(return_inverse=True)
    if len(known) < 2 or JUNK in known:
        raise TrainingError(f"{folder / TRAINING_FOLDER}: expected two or more identities, no junk")
    return Split(
        title=f"Market-1501 from {folder}",
        training=Labelled(training.labelled.source, classes),
        identities=len(known),
        query=_photographs(folder / QUERY_FOLDER),
        gallery=_photographs(folder / GALLERY_FOLDER),
        normalise=IMAGENET,
        augmentation=Augmentation(padding=10, mirror=True),
    )


def _digits() -> Split:
    images, labels = load_digits(DIGITS_SIDE, channels=3)
    query, training, gallery = split_by_class(labels, tuple(DIGITS_PER_IDENTITY.values()))

    def part(indices: Tensor, camera: int) -> Photographs:
        labelled = Labelled(MemoryImages(images[indices]), labels[indices])
        return Photographs(labelled, torch.full_like(indices, camera))

    return Split(
        title=f"no Market-1501 here, so scikit-learn's {len(labels)} handwritten digits as ten "
        f"identities, 8x8 resized to {DIGITS_SIDE}x{DIGITS_SIDE}x3",
        training=part(training, camera=0).labelled,
        identities=len(labels.unique()),
        query=part(query, camera=1),
        gallery=part(gallery, camera=2),
        normalise=Normalisation.of(images[training]),
        augmentation=Augmentation(),
    )


def _photographs(folder: Path) -> Photographs:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise TrainingError(f"{folder}: there are no images")
    identities, cameras = [], []
    for path in paths:
        match = FILE_NAME.match(path.name)
        if match is None:
            raise TrainingError(f"{path}: the name does not tell identity and camera")
        identities.append(int(match[1]))
        cameras.append(int(match[2]))
    labelled = Labelled(FileImages(tuple(paths)), torch.tensor(identities))
    return Photographs(labelled, torch.tensor(cameras))


def _read(path: Path) -> Tensor:
    from PIL import Image

    try:
        with Image.open(path) as file:
            image = file.convert("RGB").resize((WIDTH, HEIGHT))
    except (OSError, SyntaxError, ValueError) as fault:  # Pillow reports damage as any of these
        raise TrainingError(f"{path} cannot be read as an image: {fault}") from fault
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.reshape(HEIGHT, WIDTH, 3).permute(2, 0, 1)
