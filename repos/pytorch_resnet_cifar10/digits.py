"""The 1,797 real handwritten digits that scikit-learn carries, for when no other data are there.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, 1998. The same file stands in each program, so that each runs alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

DIGIT_CLASSES = 10
LARGEST_INTENSITY = 16
SPLIT_SEED = 0
"""The split is the same for every seed of a training, so that trainings can be compared."""


def load_digits(side: int, channels: int) -> tuple[Tensor, Tensor]:
    """Return images as uint8 [1797, channels, side, side], and labels as int64 [1797].

    The 8x8 originals are resized bilinearly; every channel holds the same picture.
    """
    from sklearn import datasets

    digits = datasets.load_digits()
    originals = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
    resized = functional.interpolate(
        originals * (255 / LARGEST_INTENSITY), size=(side, side), mode="bilinear"
    )
    images = resized.round().to(torch.uint8).repeat(1, channels, 1, 1)
    return images, torch.tensor(digits.target, dtype=torch.int64)


def split_by_class(labels: Tensor, per_class: Sequence[int]) -> list[Tensor]:
    """Return index tensors: one part for each count per class, and a last part with the rest."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    parts: list[list[Tensor]] = [[] for _ in range(len(per_class) + 1)]
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        sizes = [*per_class, len(members) - sum(per_class)]
        for part, indices in zip(parts, members.split(sizes), strict=True):
            part.append(indices)
    return [torch.cat(part) for part in parts]
