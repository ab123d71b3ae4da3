"""Training of a classifier epoch by epoch, its evaluation, and the schedule of its rate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from common.images import ShuffledBatches
from common.program import TrainingError

WARM_UP_SHARE = 0.25
WARM_UP_BATCHES = 400
SECONDS_BETWEEN_LINES = 2.0


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy, accuracy in per cent, and what it took in seconds."""

    loss: float
    accuracy: float
    seconds: float

    def words(self, part: str) -> str:
        """Return loss and accuracy as the lines of an epoch hold them."""
        return f"{part}_loss {self.loss:.4f} {part}_accuracy {self.accuracy:.2f}"


def step_schedule(steps: int, drops: Sequence[float]) -> Callable[[int], float]:
    """Return the factor of the learning rate at each of `steps` batches, counted from 0.

    It rises linearly over the first quarter, at most 400 batches, for large rates not to spoil a
    network with random weights; after each share of the batches in `drops` it is divided by 10.
    """
    warm_up = min(round(WARM_UP_SHARE * steps), WARM_UP_BATCHES)

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / (warm_up + 1)
        return 1 / 10 ** sum(step / steps >= drop for drop in drops)

    return factor


def fit(
    network: nn.Module,
    batches: ShuffledBatches,
    optimizer: Optimizer,
    epochs: int,
    drops: Sequence[float] = (),
    gradient_limit: float = math.inf,
) -> Iterator[tuple[str, Score]]:
    """Train epoch by epoch; yield `Epoch 1/3` and the score after the first, and so on.

    The learning rate is constant, or follows `step_schedule` where there are `drops`. Gradients
    with a norm above the limit are scaled down.

    Raises:
        TrainingError: The loss is not finite.
    """
    steps = epochs * len(batches)
    schedule = LambdaLR(optimizer, step_schedule(steps, drops) if drops else lambda step: 1.0)
    last_line = -math.inf
    for epoch in range(1, epochs + 1):
        heading, start = f"Epoch {epoch}/{epochs}", time.perf_counter()
        network.train()
        totals: Tensor | float = 0.0
        for step, (images, labels) in enumerate(batches, start=1):
            loss, counted = _losses(network, images, labels)
            optimizer.zero_grad()
            loss.backward()
            if gradient_limit < math.inf:
                nn.utils.clip_grad_norm_(network.parameters(), gradient_limit)
            optimizer.step()
            schedule.step()
            totals += counted
            if time.perf_counter() - last_line >= SECONDS_BETWEEN_LINES:
                last_line = time.perf_counter()
                print(f"{heading} step {step}/{len(batches)} train_loss {loss.item():.4f}")
        score = _score(totals, start, f"epoch {epoch}")
        last_line = time.perf_counter()
        yield heading, score


def evaluate(network: nn.Module, batches: DataLoader[Any]) -> Score:
    """Return the score on data that are not trained on.

    Raises:
        TrainingError: The loss is not finite.
    """
    start = time.perf_counter()
    network.eval()
    totals: Tensor | float = 0.0
    with torch.inference_mode():
        for images, labels, *_ in batches:
            totals += _losses(network, images, labels)[1]
    return _score(totals, start, "the evaluation")


def _losses(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean loss, and what a score adds up: loss, right answers, images."""
    device = next(network.parameters()).device
    labels = labels.to(device, non_blocking=True)
    scores = network(images.to(device, non_blocking=True))
    loss = functional.cross_entropy(scores, labels)
    right = (scores.argmax(dim=1) == labels).sum()
    count = torch.full_like(loss, len(labels))
    return loss, torch.stack((loss.detach() * len(labels), right.float(), count))


def _score(totals: Any, start: float, where: str) -> Score:
    loss, right, count = totals.tolist()
    if not math.isfinite(loss):
        raise TrainingError(f"the training diverged: the loss of {where} is {loss / count}")
    return Score(loss / count, 100 * right / count, time.perf_counter() - start)
