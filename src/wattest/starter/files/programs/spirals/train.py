"""Trains a small network to tell three spirals of points apart; needs numpy, runs in seconds.

It stands for a program of your own. What makes it one that can be measured: it takes its
hyper-parameters as flags, prints its results in lines that a pattern finds, flushes them, and ends
with 0 only when it has trained.
"""

from __future__ import annotations

import argparse

import numpy as np

CLASSES = 3
BATCH = 100


def spirals(generator: np.random.Generator, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy points on three arms, and the arm of each."""
    arms = generator.integers(0, CLASSES, points)
    radius = generator.uniform(0.1, 1.0, points)
    angle = 2 * np.pi * arms / CLASSES + 9 * radius + generator.normal(0, 0.4, points)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), arms


def forward(network: list[np.ndarray], inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the hidden values and the probability of each arm."""
    first, first_bias, second, second_bias = network
    hidden = np.maximum(0, inputs @ first + first_bias)
    scores = hidden @ second + second_bias
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, powers / powers.sum(axis=1, keepdims=True)


def step(network: list[np.ndarray], inputs: np.ndarray, arms: np.ndarray, rate: float) -> float:
    """Take one step down the gradient; return the loss before it."""
    hidden, probabilities = forward(network, inputs)
    loss = -np.log(probabilities[range(len(arms)), arms] + 1e-12).mean()
    slope = probabilities.copy()
    slope[range(len(arms)), arms] -= 1
    slope /= len(arms)
    back = (slope @ network[2].T) * (hidden > 0)
    gradients = [inputs.T @ back, back.sum(axis=0), hidden.T @ slope, slope.sum(axis=0)]
    for weights, gradient in zip(network, gradients, strict=True):
        weights -= rate * gradient
    return float(loss)


def main() -> None:
    """Train, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=("narrow", "wide"), default="narrow")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--learning-rate", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    generator = np.random.default_rng(options.seed)
    inputs, arms = spirals(generator, 80_000)
    test_inputs, test_arms = spirals(generator, 5000)
    width = {"narrow": 64, "wide": 512}[options.model]
    network = [
        generator.normal(0, 1, (2, width)), np.zeros(width),
        generator.normal(0, width**-0.5, (width, CLASSES)), np.zeros(CLASSES),
    ]  # fmt: skip
    for epoch in range(1, options.epochs + 1):
        order = generator.permutation(len(arms))
        batches = np.array_split(order, len(arms) // BATCH)
        losses = [step(network, inputs[b], arms[b], options.learning_rate) for b in batches]
        print(f"Epoch {epoch}/{options.epochs} loss {np.mean(losses):.4f}", flush=True)
    accuracy = (forward(network, test_inputs)[1].argmax(axis=1) == test_arms).mean()
    print(f"Test accuracy: {100 * accuracy:.2f}%", flush=True)


if __name__ == "__main__":
    main()
