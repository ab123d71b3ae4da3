"""Trains a small convolutional network and prints its loss and accuracy on the test data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # there lies common/

from common import program

MOMENTUM = 0.9
EVALUATION_BATCH = 512


def flags() -> program.Parser:
    """Return the flags of this program."""
    parser = program.Parser("Trains a small network on MNIST.", ["mnist"], "MNIST's idx files")
    add = parser.add_argument
    add("-e", "--epochs", type=program.whole(1), default=10, help="default: 10")
    add("-l", "--lr", type=program.learning_rate, default=0.01, help="learning rate (0.01)")
    add("-b", "--batch-size", type=program.whole(2), default=32, help="default: 32")
    return parser


def train(options: argparse.Namespace) -> None:
    """Train as the flags say, and print the test loss, and the test accuracy in per cent."""
    folder = program.data_folder(options.data)
    # PyTorch takes seconds to load: what is wrong with the flags is answered before
    import torch
    from common.fitting import evaluate, fit
    from common.images import ShuffledBatches, batches_in_order, digits
    from mnist import load, small_network

    device = program.start(options.seed, options.device)
    data = load(folder) if folder else digits("MNIST", 28, 1, test=36)
    print(data)
    model = small_network()
    print(f"model: {options.model}, {sum(p.numel() for p in model.parameters()):,} parameters")

    batches = ShuffledBatches(data, options.batch_size, options.workers)
    test = batches_in_order(data.parts["test"], EVALUATION_BATCH, options.workers)
    network = torch.nn.Sequential(data.normalise, model)
    network.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=options.lr, momentum=MOMENTUM)
    for heading, trained in fit(network, batches, optimizer, options.epochs):
        print(f"{heading} {trained.words('train')} seconds {trained.seconds:.1f}")
    tested = evaluate(network, test)
    print(f"Test Loss: {tested.loss:.6f}")
    print(f"Final Test Accuracy: {tested.accuracy:.2f}%")


if __name__ == "__main__":
    program.run(flags(), train)
