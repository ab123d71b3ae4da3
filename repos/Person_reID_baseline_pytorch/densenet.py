"""DenseNet-121 (Huang et al., CVPR 2017, arXiv 1608.06993) with an identity head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

GROWTH = 32
BOTTLENECK_FACTOR = 4
STEM_CHANNELS = 64
BLOCK_LENGTHS = (6, 12, 24, 16)
EMBEDDING_SIZE = 512


class DenseLayer(nn.Module):
    """BN-ReLU-1x1, BN-ReLU-3x3; its output is appended to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = BOTTLENECK_FACTOR * GROWTH
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, GROWTH, 3, padding=1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map [n, c, h, w] to [n, c + GROWTH, h, w]."""
        narrow = self.conv1(functional.relu(self.norm1(images)))
        grown = self.conv2(functional.relu(self.norm2(narrow)))
        return torch.cat((images, grown), dim=1)


def _transition(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels // 2, 1, bias=False),
        nn.AvgPool2d(2),
    )


def densenet121_features() -> nn.Sequential:
    """Build the feature part: [n, 3, h, w] to [n, 1024, h/32, w/32], 6,953,856 parameters."""
    channels = STEM_CHANNELS
    parts: list[nn.Module] = [
        nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    for position, length in enumerate(BLOCK_LENGTHS):
        for _ in range(length):
            parts.append(DenseLayer(channels))
            channels += GROWTH
        if position < len(BLOCK_LENGTHS) - 1:
            parts.append(_transition(channels))
            channels //= 2
    parts.append(nn.BatchNorm2d(channels))
    features = nn.Sequential(*parts)
    for module in features.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return features


class IdentityNet(nn.Module):
    """DenseNet-121, an embedding, and a classifier over the identities of the training set.

    The classifier only teaches the embedding: retrieval compares embeddings.
    """

    def __init__(self, identities: int, dropout: float) -> None:
        super().__init__()
        self.features = densenet121_features()
        self.embedding = nn.Sequential(
            nn.Linear(1024, EMBEDDING_SIZE), nn.BatchNorm1d(EMBEDDING_SIZE)
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(EMBEDDING_SIZE, identities)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)

    def embed(self, images: Tensor) -> Tensor:
        """Map images [n, 3, h, w] to embeddings [n, 512], not normalised."""
        pooled = functional.relu(self.features(images)).mean(dim=(2, 3))
        embedded: Tensor = self.embedding(pooled)
        return embedded

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, 3, h, w] to identity scores [n, identities]."""
        scores: Tensor = self.classifier(self.dropout(self.embed(images)))
        return scores
