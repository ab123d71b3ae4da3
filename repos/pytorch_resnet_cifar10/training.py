"""One whole training: data, network, schedule, epochs, result."""

from __future__ import annotations

from collections.abc import Callable

import torch
from batches import Loader, ordered_loader, training_loader
from cifar import Split, load
from fitting import Trainer
from options import BLOCKS_PER_STAGE, Options
from resnet import CifarResNet
from runtime import data_folder, say, start

MOMENTUM = 0.9
EVALUATION_BATCH = 256
WARM_UP_SHARE = 0.25
WARM_UP_BATCHES = 400
GRADIENT_LIMIT = 2.0
"""Not in the paper: where there are few batches, a rate of 0.5 spoils some trainings without it."""


def step_schedule(steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate at each of `steps` batches, counted from 0.

    He et al. divide by 10 after 32k and 48k of 64k batches: one half and three quarters. Where they
    warm up, it takes about 400 batches (section 4.2); here the rate rises linearly over as many, or
    over the first quarter where there are few batches, for large rates not to spoil them all.
    """
    warm_up = min(round(WARM_UP_SHARE * steps), WARM_UP_BATCHES)

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / (warm_up + 1)
        return 1.0 if step < steps / 2 else 0.1 if step < steps * 3 / 4 else 0.01

    return factor


def train(options: Options) -> None:
    """Train as the flags say, and print the two accuracies in per cent.

    Raises:
        TrainingError: The data cannot be used, or the training diverged.
    """
    device = start(options)
    data = load(data_folder(options))
    batch_size = options.batch_size or data.batch_size
    say(f"data: {data.title}")
    say(
        f"{len(data.training)} images to train, {len(data.validation)} to validate, "
        f"{len(data.test)} to test, {batch_size} in a batch"
    )
    model = CifarResNet(BLOCKS_PER_STAGE[options.model])
    say(f"model: {options.model}, {sum(p.numel() for p in model.parameters()):,} parameters")

    batches = training_loader(
        data.training, batch_size, augmentation=data.augmentation, workers=options.workers
    )
    model.to(device, memory_format=torch.channels_last)
    trainer = _trainer(model, data, options, len(batches))
    validation = ordered_loader(data.validation, EVALUATION_BATCH, workers=options.workers)
    best = max(
        _epoch(trainer, epoch, options.epochs, batches, validation)
        for epoch in range(1, options.epochs + 1)
    )
    tested = trainer.evaluate(ordered_loader(data.test, EVALUATION_BATCH, workers=options.workers))
    say(f"最佳验证准确率: {best:.2f}")
    say(f"测试准确率: {tested.accuracy:.2f}")


def _trainer(model: CifarResNet, data: Split, options: Options, batches: int) -> Trainer:
    optimizer = torch.optim.SGD(
        model.parameters(), lr=options.lr, momentum=MOMENTUM, weight_decay=options.wd
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, step_schedule(options.epochs * batches))
    return Trainer(
        model,
        optimizer,
        schedule,
        data.normalise,
        options.epochs,
        gradient_limit=GRADIENT_LIMIT,
    )


def _epoch(trainer: Trainer, epoch: int, epochs: int, batches: Loader, validation: Loader) -> float:
    trained = trainer.train(epoch, batches)
    validated = trainer.evaluate(validation)
    say(
        f"Epoch {epoch}/{epochs} train_loss {trained.loss:.4f} "
        f"train_accuracy {trained.accuracy:.2f} val_loss {validated.loss:.4f} "
        f"val_accuracy {validated.accuracy:.2f} seconds {trained.seconds:.1f}"
    )
    return validated.accuracy
