"""Images: data sets, the digits that stand in for one, batches, augmentation, normalisation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

from common.program import TrainingError

LARGEST_INTENSITY = 16
SPLIT_SEED = 0
"""The split is the same for every seed of a training, so that trainings can be compared."""

SMALLEST_BATCH = 2
"""Batch normalisation has no variance over one value."""


class Normalise(nn.Module):
    """Scales pixel values by the mean and the standard deviation of each channel."""

    def __init__(self, means: Sequence[float], deviations: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("means", torch.tensor(means)[:, None, None])
        self.register_buffer("deviations", torch.tensor(deviations)[:, None, None])

    @classmethod
    def over(cls, images: Tensor) -> Normalise:
        """Take both from images, uint8 [n, channels, height, width]."""
        channels = [images[:, channel].float() for channel in range(images.shape[1])]
        return cls(
            [float(values.mean()) for values in channels],
            [max(1.0, float(values.std())) for values in channels],
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the images as float32, channels last (twice as fast on a CPU)."""
        scaled = (images - self.means) / self.deviations
        return scaled.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Data:
    """A data set in parts, and how to treat its images.

    A part answers an index tensor [n] with images, uint8 [n, channels, height, width], their
    classes, int64 [n], and perhaps more. Where there is a `padding`, training images are cropped
    and mirrored at random.
    """

    title: str
    parts: Mapping[str, Dataset[Any]]
    normalise: Normalise
    classes: int = 10
    padding: int = 0

    def __str__(self) -> str:
        sizes = ", ".join(f"{len(part)} {name}" for name, part in self.parts.items())
        return f"data: {self.title}\nimages: {sizes}"


def digits(
    absent: str, side: int, channels: int, *, rest: str = "training", **per_class: int
) -> Data:
    """Return scikit-learn's 1,797 handwritten digits in the place of an absent data set.

    The 8x8 originals are resized bilinearly; every channel holds the same picture. Each part has so
    many images per class, and one has the `rest`; the number of its part stands beside each class.
    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository, 1998.
    """
    from sklearn import datasets

    source = datasets.load_digits()
    originals = torch.tensor(source.images, dtype=torch.float32) * (255 / LARGEST_INTENSITY)
    resized = functional.interpolate(originals.unsqueeze(1), size=(side, side), mode="bilinear")
    images = resized.round().to(torch.uint8).repeat(1, channels, 1, 1)
    labels = torch.tensor(source.target, dtype=torch.int64)
    indices = split_by_class(labels, *per_class.values())
    parts = {
        name: TensorDataset(images[part], labels[part], torch.full_like(part, number))
        for number, (name, part) in enumerate(zip((*per_class, rest), indices, strict=True))
    }
    return Data(
        f"no {absent} here, so scikit-learn's {len(labels)} handwritten digits, "
        f"8x8 resized to {side}x{side}x{channels}",
        parts,
        Normalise.over(parts["training"].tensors[0]),
    )


def split_by_class(labels: Tensor, *per_class: int) -> list[Tensor]:
    """Return index tensors: one part for each count per class, and a last part with the rest."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    classes = []
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        classes.append(members.split([*per_class, len(members) - sum(per_class)]))
    return [torch.cat(part) for part in zip(*classes, strict=True)]


class ShuffledBatches:
    """Batches of the training images, in another order every epoch.

    Everything random is drawn in the training process, from a generator of its own whose seed
    follows from PyTorch's, so that the number of workers changes nothing.
    """

    def __init__(self, data: Data, batch_size: int, workers: int = 0) -> None:
        self._images = data.parts["training"]
        self._padding = data.padding
        self._batch_size = batch_size
        self._workers = workers
        self._generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        if len(self) == 0:
            raise TrainingError(f"{len(self._images)} training images are too few")

    def __len__(self) -> int:
        full, rest = divmod(len(self._images), self._batch_size)
        return full + (rest >= SMALLEST_BATCH)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self._images), generator=self._generator)
        indices = order.split(self._batch_size)[: len(self)]
        for images, labels, *_ in _loader(self._images, indices, self._workers):
            size = 2 * self._padding + 1
            shifts = torch.randint(size, (len(labels), 2), generator=self._generator)
            mirrored = torch.rand(len(labels), generator=self._generator) < 0.5
            if self._padding:
                images = augmented(images, self._padding, shifts, mirrored)
            yield images, labels


def batches_in_order(data: Dataset[Any], batch_size: int, workers: int = 0) -> DataLoader[Any]:
    """Return batches in the order of the data, for evaluation."""
    return _loader(data, torch.arange(len(data)).split(batch_size), workers)


def augmented(images: Tensor, padding: int, shifts: Tensor, mirrored: Tensor) -> Tensor:
    """Pad images with black, crop each at its shift (row, column), and mirror some of them."""
    height, width = images.shape[2:]
    padded = zip(functional.pad(images, (padding,) * 4), shifts.tolist(), strict=True)
    crops = [image[:, y : y + height, x : x + width] for image, (y, x) in padded]
    cropped = torch.stack(crops)
    return torch.where(mirrored[:, None, None, None], cropped.flip(3), cropped)


def _loader(data: Dataset[Any], indices: Sequence[Tensor], workers: int) -> DataLoader[Any]:
    pin = torch.cuda.is_available()
    return DataLoader(data, batch_size=None, sampler=indices, num_workers=workers, pin_memory=pin)
