"""One epoch of training, and evaluation, as the bundled programs have them in common.

The same file stands in each program, so that each runs alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from batches import Loader, Normalisation
from runtime import check_finite, say
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

SECONDS_BETWEEN_LINES = 2.0


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy, accuracy in per cent, and what it took in seconds."""

    loss: float
    accuracy: float
    seconds: float


class Trainer:
    """Trains a classifier epoch by epoch, and prints how far it is.

    With a `gradient_limit`, gradients with a larger norm are scaled down to it.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: LRScheduler,
        normalise: Normalisation,
        epochs: int,
        *,
        gradient_limit: float | None = None,
    ) -> None:
        self.model = model
        self._optimizer = optimizer
        self._schedule = schedule
        self._normalise = normalise
        self._epochs = epochs
        self._gradient_limit = gradient_limit
        self._device = next(model.parameters()).device
        self._last_line = float("-inf")

    def train(self, epoch: int, loader: Loader) -> Score:
        """Train one epoch, counted from 1; the schedule advances with every batch.

        Raises:
            TrainingError: The loss is not finite.
        """
        start = time.perf_counter()
        self.model.train()
        totals = torch.zeros(3, device=self._device)
        for step, (images, labels) in enumerate(loader, start=1):
            images = self._normalise(images.to(self._device, non_blocking=True))
            labels = labels.to(self._device, non_blocking=True)
            scores = self.model(images)
            loss = functional.cross_entropy(scores, labels)
            self._optimizer.zero_grad()
            loss.backward()
            if self._gradient_limit is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), self._gradient_limit)
            self._optimizer.step()
            self._schedule.step()
            totals += _totals(scores.detach(), labels, loss.detach())
            self._report(f"Epoch {epoch}/{self._epochs} step {step}/{len(loader)}", loss.detach())
        score = _score(totals, start)
        check_finite(score.loss, f"epoch {epoch}")
        self._last_line = time.perf_counter()
        return score

    def evaluate(self, loader: Loader) -> Score:
        """Return the score on data that are not trained on.

        Raises:
            TrainingError: The loss is not finite.
        """
        start = time.perf_counter()
        self.model.eval()
        totals = torch.zeros(3, device=self._device)
        with torch.inference_mode():
            for images, labels in loader:
                scores = self.model(self._normalise(images.to(self._device)))
                labels = labels.to(self._device)
                totals += _totals(scores, labels, functional.cross_entropy(scores, labels))
        score = _score(totals, start)
        check_finite(score.loss, "the evaluation")
        return score

    def _report(self, position: str, loss: Tensor) -> None:
        now = time.perf_counter()
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            say(f"{position} train_loss {float(loss):.4f}")


def _totals(scores: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
    right = (scores.argmax(dim=1) == labels).sum()
    return torch.stack((loss * len(labels), right.float(), torch.ones_like(loss) * len(labels)))


def _score(totals: Tensor, start: float) -> Score:
    loss, right, count = totals.tolist()
    return Score(loss / count, 100 * right / count, time.perf_counter() - start)
