"""Batches of images: order, augmentation, and normalisation.

The same file stands in each program, so that each runs alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from runtime import TrainingError
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

SMALLEST_BATCH = 2
"""Batch normalisation has no variance over one value."""

Loader = DataLoader[tuple[Tensor, Tensor]]


class ImageSource(Protocol):
    """Where images come from: memory or files."""

    def load(self, indices: Tensor) -> Tensor:
        """Return the images at `indices` as uint8 [n, channels, height, width]."""


@dataclass(frozen=True)
class MemoryImages:
    """Images that are in memory, as uint8 [n, channels, height, width]."""

    images: Tensor

    def load(self, indices: Tensor) -> Tensor:
        """Return the images at `indices`."""
        return self.images[indices]


@dataclass(frozen=True)
class Labelled:
    """Images with their classes, int64 [n]."""

    source: ImageSource
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Augmentation:
    """Random crops after padding with black (pixels on each side), and random mirroring."""

    padding: int = 0
    mirror: bool = False


@dataclass(frozen=True)
class Request:
    """One batch: which images, how far each crop is shifted [n, 2], and which are mirrored [n]."""

    indices: Tensor
    shifts: Tensor
    mirrored: Tensor


class RandomRequests(Sampler[Request]):
    """All images in random order, in batches.

    Everything random is drawn here, in the training process and from a generator of its own, so
    that the number of workers changes nothing.
    """

    def __init__(self, count: int, batch_size: int, augmentation: Augmentation, seed: int) -> None:
        self._count = count
        self._batch_size = batch_size
        self._augmentation = augmentation
        self._generator = torch.Generator().manual_seed(seed)
        if len(self) == 0:
            raise TrainingError(f"{count} training images are too few")

    def __len__(self) -> int:
        full, rest = divmod(self._count, self._batch_size)
        return full + (rest >= SMALLEST_BATCH)

    def __iter__(self) -> Iterator[Request]:
        generator = self._generator
        order = torch.randperm(self._count, generator=generator)
        for indices in order.split(self._batch_size)[: len(self)]:
            shifts = torch.randint(
                2 * self._augmentation.padding + 1, (len(indices), 2), generator=generator
            )
            mirrored = torch.rand(len(indices), generator=generator) < 0.5
            yield Request(indices, shifts, mirrored & self._augmentation.mirror)


class Batches(Dataset[tuple[Tensor, Tensor]]):
    """Answers a request with images (uint8) and classes."""

    def __init__(self, data: Labelled, padding: int = 0) -> None:
        self._data = data
        self._padding = padding

    def __getitem__(self, request: Request) -> tuple[Tensor, Tensor]:
        images = self._data.source.load(request.indices)
        if self._padding:
            images = _crop(functional.pad(images, (self._padding,) * 4), request.shifts, images)
        if request.mirrored.any():
            images = torch.where(request.mirrored[:, None, None, None], images.flip(3), images)
        return images, self._data.labels[request.indices]


def training_loader(
    data: Labelled,
    batch_size: int,
    *,
    augmentation: Augmentation | None = None,
    workers: int = 0,
) -> Loader:
    """Return shuffled batches for training; the order follows from PyTorch's seed.

    Raises:
        TrainingError: There are too few images for one batch.
    """
    chosen = augmentation or Augmentation()
    seed = int(torch.randint(2**31, ()))
    requests = RandomRequests(len(data), batch_size, chosen, seed)
    return _loader(Batches(data, chosen.padding), requests, workers)


def ordered_loader(data: Labelled, batch_size: int, *, workers: int = 0) -> Loader:
    """Return batches in the order of the data, for evaluation."""
    requests = [
        Request(indices, torch.zeros(len(indices), 2), torch.zeros(len(indices), dtype=torch.bool))
        for indices in torch.arange(len(data)).split(batch_size)
    ]
    return _loader(Batches(data), requests, workers)


@dataclass(frozen=True)
class Normalisation:
    """Scales pixel values by the mean and the standard deviation of each channel."""

    means: tuple[float, ...]
    deviations: tuple[float, ...]

    @classmethod
    def of(cls, images: Tensor) -> Normalisation:
        """Compute it over images, uint8 [n, channels, height, width]."""
        channels = [images[:, channel].float() for channel in range(images.shape[1])]
        return cls(
            tuple(float(values.mean()) for values in channels),
            tuple(max(1.0, float(values.std())) for values in channels),
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Return the images as float32, channels last (twice as fast on a CPU)."""
        means = torch.tensor(self.means, device=images.device)[:, None, None]
        deviations = torch.tensor(self.deviations, device=images.device)[:, None, None]
        scaled = (images - means) / deviations
        return scaled.contiguous(memory_format=torch.channels_last)


def _loader(
    batches: Batches, requests: Sampler[Request] | Sequence[Request], workers: int
) -> Loader:
    return DataLoader(
        batches,
        batch_size=None,
        sampler=requests,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def _crop(padded: Tensor, shifts: Tensor, original: Tensor) -> Tensor:
    count, channels, height, width = original.shape
    rows = shifts[:, :1] + torch.arange(height)
    columns = shifts[:, 1:] + torch.arange(width)
    return padded[
        torch.arange(count)[:, None, None, None],
        torch.arange(channels)[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
