"""Trains DenseNet-121 for person re-identification and prints Rank@1, Rank@5 and mAP."""

from __future__ import annotations

from options import read_options
from runtime import run, say


def main() -> None:
    """Read the flags, then load PyTorch, which takes seconds, and train."""
    options = read_options()
    say(
        f"training {options.model} for {options.epochs} epochs: "
        f"lr {options.lr!r}, dropout {options.droprate!r}"
    )
    from training import train

    train(options)


if __name__ == "__main__":
    run(main)
