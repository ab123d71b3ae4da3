"""Trains a CIFAR ResNet and prints its best validation accuracy and its test accuracy."""

from __future__ import annotations

from options import read_options
from runtime import run, say


def main() -> None:
    """Read the flags, then load PyTorch, which takes seconds, and train."""
    options = read_options()
    say(
        f"training {options.model} for {options.epochs} epochs: "
        f"lr {options.lr!r}, weight decay {options.wd!r}"
    )
    from training import train

    train(options)


if __name__ == "__main__":
    run(main)
