"""Trains DenseNet-121 for person re-identification and prints Rank@1, Rank@5 and mAP."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # there lies common/

from common import program

OPTIMIZER = {"momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}
DROPS = (2 / 3,)
GRADIENT_LIMIT = 1.0
"""From random weights, the learning rates of a fine-tuned network diverge without a limit."""
EVALUATION_BATCH = 128
DIGITS = {"query": 20, "training": 60}
"""Per class, where there is no Market-1501; as there, the gallery is larger than the rest."""


def flags() -> program.Parser:
    """Return the flags of this program."""
    parser = program.Parser("Trains a DenseNet for re-ID.", ["densenet121"], "Market-1501")
    add = parser.add_argument
    add("--total_epoch", dest="epochs", type=program.whole(1), default=60, help="default: 60")
    add("--lr", type=program.learning_rate, default=0.05, help="learning rate (0.05)")
    add("--droprate", type=program.dropout, default=0.5, help="dropout before the head (0.5)")
    add("--batch-size", type=program.whole(2), default=32, help="default: 32")
    return parser


def train(options: argparse.Namespace) -> None:
    """Train as the flags say, and print Rank@1, Rank@5 and mAP as shares in [0, 1]."""
    folder = program.data_folder(options.data)
    # PyTorch takes seconds to load: what is wrong with the flags is answered before
    import torch
    from common.fitting import fit
    from common.images import ShuffledBatches, batches_in_order, digits
    from densenet import IdentityNet
    from market import load
    from retrieval import embed, rank

    device = program.start(options.seed, options.device)
    data = load(folder) if folder else digits("Market-1501", 32, 3, **DIGITS, rest="gallery")
    batch_size, workers = options.batch_size, options.workers
    print(f"{data}, {batch_size} in a batch")
    model = IdentityNet(data.classes, options.droprate)
    print(
        f"model: {options.model}, {sum(p.numel() for p in model.parameters()):,} parameters, "
        f"{sum(p.numel() for p in model.features.parameters()):,} of them in the feature part"
    )

    batches = ShuffledBatches(data, batch_size, workers)
    network = torch.nn.Sequential(data.normalise, model)
    network.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=options.lr, **OPTIMIZER)
    for heading, trained in fit(network, batches, optimizer, options.epochs, DROPS, GRADIENT_LIMIT):
        print(f"{heading} {trained.words('train')} seconds {trained.seconds:.1f}")
    query, gallery = (
        embed(network, batches_in_order(part, EVALUATION_BATCH, workers), data.padding > 0)
        for part in (data.parts["query"], data.parts["gallery"])
    )
    ranking = rank(query, gallery)
    print(f"{ranking.queries} of {len(query.identities)} queries have a match in the gallery")
    print(f"Rank@1: {ranking.rank1:.6f}")
    print(f"Rank@5: {ranking.rank5:.6f}")
    print(f"mAP: {ranking.mean_average_precision:.6f}")


if __name__ == "__main__":
    program.run(flags(), train)
