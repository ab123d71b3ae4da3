"""Trains a CIFAR ResNet and prints its best validation accuracy and its test accuracy."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # there lies common/

from common import program

BLOCKS_PER_STAGE = {"resnet20": 3, "resnet32": 5, "resnet44": 7, "resnet56": 9}
MOMENTUM = 0.9
DROPS = (1 / 2, 3 / 4)
"""He et al. divide the learning rate by 10 after 32k and 48k of 64k batches (section 4.2)."""
GRADIENT_LIMIT = 2.0
"""Not in the paper: where there are few batches, a rate of 0.5 spoils some trainings without it."""
EVALUATION_BATCH = 256


def flags() -> program.Parser:
    """Return the flags of this program."""
    parser = program.Parser("Trains a ResNet.", [*BLOCKS_PER_STAGE], "CIFAR-10's Python batches")
    add = parser.add_argument
    add("-e", "--epochs", type=program.whole(1), default=200, help="default: 200")
    add("--lr", type=program.learning_rate, default=0.1, help="learning rate (0.1)")
    add("--wd", type=program.weight_decay, default=1e-4, help="weight decay (0.0001)")
    add("--batch-size", type=program.whole(2), help="default: 128 for CIFAR-10, 32 for the digits")
    return parser


def train(options: argparse.Namespace) -> None:
    """Train as the flags say, and print the two accuracies in per cent."""
    folder = program.data_folder(options.data)
    # PyTorch takes seconds to load: what is wrong with the flags is answered before
    import torch
    from cifar import load
    from common.fitting import evaluate, fit
    from common.images import ShuffledBatches, batches_in_order, digits
    from resnet import CifarResNet

    device = program.start(options.seed, options.device)
    data = load(folder) if folder else digits("CIFAR-10", 32, 3, test=36, validation=18)
    batch_size = options.batch_size or (128 if folder else 32)
    print(f"{data}, {batch_size} in a batch")
    model = CifarResNet(BLOCKS_PER_STAGE[options.model])
    print(f"model: {options.model}, {sum(p.numel() for p in model.parameters()):,} parameters")

    batches = ShuffledBatches(data, batch_size, options.workers)
    validation = batches_in_order(data.parts["validation"], EVALUATION_BATCH, options.workers)
    test = batches_in_order(data.parts["test"], EVALUATION_BATCH, options.workers)
    network = torch.nn.Sequential(data.normalise, model)
    network.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=options.lr, momentum=MOMENTUM, weight_decay=options.wd
    )
    best = 0.0
    for heading, trained in fit(network, batches, optimizer, options.epochs, DROPS, GRADIENT_LIMIT):
        validated = evaluate(network, validation)
        best = max(best, validated.accuracy)
        scores = f"{trained.words('train')} {validated.words('val')}"
        print(f"{heading} {scores} seconds {trained.seconds:.1f}")
    tested = evaluate(network, test)
    print(f"最佳验证准确率: {best:.2f}")
    print(f"测试准确率: {tested.accuracy:.2f}")


if __name__ == "__main__":
    program.run(flags(), train)
