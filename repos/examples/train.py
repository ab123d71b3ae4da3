"""Trains a small convolutional network and prints its loss and accuracy on the test data."""

from __future__ import annotations

from options import read_options
from runtime import run, say


def main() -> None:
    """Read the flags, then load PyTorch, which takes seconds, and train."""
    options = read_options()
    say(
        f"training {options.model} for {options.epochs} epochs: "
        f"lr {options.lr!r}, {options.batch_size} in a batch"
    )
    from training import train

    train(options)


if __name__ == "__main__":
    run(main)
