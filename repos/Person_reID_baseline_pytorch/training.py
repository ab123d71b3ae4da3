"""One whole training: data, network, schedule, epochs, retrieval."""

from __future__ import annotations

from collections.abc import Callable

import torch
from batches import Normalisation, ordered_loader, training_loader
from densenet import IdentityNet
from fitting import Trainer
from market import Photographs, Split, load
from options import Options
from retrieval import Embedded, rank
from runtime import data_folder, say, start
from torch.nn import functional

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
EVALUATION_BATCH = 128
WARM_UP_SHARE = 0.25
WARM_UP_BATCHES = 400
GRADIENT_LIMIT = 1.0
"""From random weights, the learning rates of a fine-tuned network diverge without a limit."""


def step_schedule(steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate at each of `steps` batches, counted from 0.

    It rises linearly over the first quarter, at most 400 batches, as the network starts from
    random weights, and is divided by 10 after two thirds.
    """
    warm_up = min(round(WARM_UP_SHARE * steps), WARM_UP_BATCHES)

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / (warm_up + 1)
        return 1.0 if step < steps * 2 / 3 else 0.1

    return factor


def train(options: Options) -> None:
    """Train as the flags say, and print Rank@1, Rank@5 and mAP as shares in [0, 1].

    Raises:
        TrainingError: The data cannot be used, or the training diverged.
    """
    device = start(options)
    data = load(data_folder(options))
    _describe(data, options.batch_size)
    model = IdentityNet(data.identities, options.droprate)
    say(
        f"model: {options.model}, {sum(p.numel() for p in model.parameters()):,} parameters, "
        f"{sum(p.numel() for p in model.features.parameters()):,} of them in the feature part"
    )
    model.to(device, memory_format=torch.channels_last)
    _fit(model, data, options)
    query = embed(model, data.query, data.normalise, options, data.augmentation.mirror)
    gallery = embed(model, data.gallery, data.normalise, options, data.augmentation.mirror)
    ranking = rank(query, gallery)
    say(
        f"retrieval: {ranking.queries} queries in a gallery of {len(gallery.identities)}, "
        f"{ranking.without_match} queries without a match left out"
    )
    say(f"Rank@1: {ranking.rank1:.6f}")
    say(f"Rank@5: {ranking.rank5:.6f}")
    say(f"mAP: {ranking.mean_average_precision:.6f}")


def embed(
    model: IdentityNet,
    photographs: Photographs,
    normalise: Normalisation,
    options: Options,
    mirror: bool,
) -> Embedded:
    """Return unit-length embeddings; where `mirror`, of each picture and its mirror image added."""
    device = next(model.parameters()).device
    loader = ordered_loader(photographs.labelled, EVALUATION_BATCH, workers=options.workers)
    features = []
    model.eval()
    with torch.inference_mode():
        for images, _ in loader:
            pictures = normalise(images.to(device))
            embedded = model.embed(pictures)
            if mirror:
                embedded = embedded + model.embed(pictures.flip(3))
            features.append(functional.normalize(embedded).cpu())
    return Embedded(torch.cat(features), photographs.labelled.labels, photographs.cameras)


def _describe(data: Split, batch_size: int) -> None:
    say(f"data: {data.title}")
    say(
        f"{len(data.training)} images of {data.identities} identities to train, "
        f"{len(data.query.labelled)} queries, {len(data.gallery.labelled)} in the gallery, "
        f"{batch_size} in a batch"
    )


def _fit(model: IdentityNet, data: Split, options: Options) -> None:
    batches = training_loader(
        data.training, options.batch_size, augmentation=data.augmentation, workers=options.workers
    )
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=options.lr,
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
        nesterov=True,
    )
    steps = options.epochs * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, step_schedule(steps))
    trainer = Trainer(
        model,
        optimizer,
        schedule,
        data.normalise,
        options.epochs,
        gradient_limit=GRADIENT_LIMIT,
    )
    for epoch in range(1, options.epochs + 1):
        trained = trainer.train(epoch, batches)
        say(
            f"Epoch {epoch}/{options.epochs} train_loss {trained.loss:.4f} "
            f"train_accuracy {trained.accuracy:.2f} seconds {trained.seconds:.1f}"
        )
