"""One whole training: data, network, epochs, result."""

from __future__ import annotations

import torch
from batches import ordered_loader, training_loader
from fitting import Trainer
from mnist import load, small_network
from runtime import CommonOptions, data_folder, say, start

MOMENTUM = 0.9
EVALUATION_BATCH = 512


def train(options: CommonOptions) -> None:
    """Train as the flags say, and print the test loss, and the test accuracy in per cent.

    Raises:
        TrainingError: The data cannot be used, or the training diverged.
    """
    device = start(options)
    data = load(data_folder(options))
    say(f"data: {data.title}")
    say(f"{len(data.training)} images to train, {len(data.test)} to test")
    model = small_network()
    say(f"model: {options.model}, {sum(p.numel() for p in model.parameters()):,} parameters")

    batches = training_loader(data.training, options.batch_size)
    model.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=options.lr, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    trainer = Trainer(model, optimizer, schedule, data.normalise, options.epochs)
    for epoch in range(1, options.epochs + 1):
        trained = trainer.train(epoch, batches)
        say(
            f"Epoch {epoch}/{options.epochs} train_loss {trained.loss:.4f} "
            f"train_accuracy {trained.accuracy:.2f} seconds {trained.seconds:.1f}"
        )
    tested = trainer.evaluate(ordered_loader(data.test, EVALUATION_BATCH))
    say(f"Test Loss: {tested.loss:.6f}")
    say(f"Final Test Accuracy: {tested.accuracy:.2f}%")
