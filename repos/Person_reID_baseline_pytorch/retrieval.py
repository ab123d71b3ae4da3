"""Retrieval of persons: Rank@k and mAP as the Market-1501 protocol defines them.

Source: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015, and the
evaluation code published with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from common.program import TrainingError
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

JUNK = -1
"""The identity of detections that are no whole person: they are taken out of every ranking."""


@dataclass(frozen=True)
class Embedded:
    """Embeddings of unit length, float32 [n, d], with identities and cameras, int64 [n]."""

    features: Tensor
    identities: Tensor
    cameras: Tensor


@dataclass(frozen=True)
class Ranking:
    """Shares in [0, 1] over the queries that have a match in the gallery."""

    rank1: float
    rank5: float
    mean_average_precision: float
    queries: int


def embed(network: nn.Sequential, batches: DataLoader[Any], mirror: bool) -> Embedded:
    """Return what a normalisation and a network before its classifier make of images.

    Where `mirror`, of each picture and its mirror image added.
    """
    normalise, model = network
    device = next(model.parameters()).device
    batches_embedded = []
    network.eval()
    with torch.inference_mode():
        for images, identities, cameras in batches:
            pictures = normalise(images.to(device, non_blocking=True))
            embedded = model.embed(pictures)
            if mirror:
                embedded = embedded + model.embed(pictures.flip(3))
            features = functional.normalize(embedded).cpu()
            batches_embedded.append((features, identities, cameras))
    return Embedded(*(torch.cat(column) for column in zip(*batches_embedded, strict=True)))


def rank(query: Embedded, gallery: Embedded) -> Ranking:
    """Rank the gallery by cosine similarity for each query.

    Gallery pictures of the query's own identity from its own camera are taken out, as are junk.

    Raises:
        TrainingError: An embedding is not finite, or no query has a match.
    """
    if not (query.features.isfinite().all() and gallery.features.isfinite().all()):
        raise TrainingError("an embedding is not finite: the training diverged")
    firsts, precisions = [], []
    queries = zip(query.features, query.identities, query.cameras, strict=True)
    for feature, identity, camera in queries:
        same = gallery.identities == identity
        kept = (gallery.identities != JUNK) & ~(same & (gallery.cameras == camera))
        order = (gallery.features[kept] @ feature).argsort(descending=True, stable=True)
        positions = same[kept][order].nonzero().flatten()
        if len(positions):
            firsts.append(int(positions[0]))
            precisions.append(average_precision(positions))
    if not firsts:
        raise TrainingError("no query has a match in the gallery")
    return Ranking(
        rank1=sum(first < 1 for first in firsts) / len(firsts),
        rank5=sum(first < 5 for first in firsts) / len(firsts),
        mean_average_precision=sum(precisions) / len(precisions),
        queries=len(firsts),
    )


def average_precision(positions: Tensor) -> float:
    """Return the area under the precision-recall curve, by the trapezoidal rule of the protocol.

    Args:
        positions: Ranks of all matches, counted from 0, ascending; at least one.
    """
    found = torch.arange(len(positions), dtype=torch.float64)
    ranks = positions.to(torch.float64)
    after = (found + 1) / (ranks + 1)
    before = torch.where(ranks > 0, found / ranks.clamp(min=1), 1.0)
    return float(((before + after) / 2).mean())
