"""The flags of this program."""

from __future__ import annotations

from dataclasses import dataclass

from runtime import (
    CommonOptions,
    Parser,
    add_common_flags,
    add_workers_flag,
    bundled_model,
    real,
    whole,
)

BLOCKS_PER_STAGE = {"resnet20": 3, "resnet32": 5, "resnet44": 7, "resnet56": 9}


@dataclass(frozen=True)
class Options(CommonOptions):
    """The flags, read and checked."""

    wd: float
    workers: int


def read_options() -> Options:
    """Read the command line; a wrong flag ends the process with exit code 2."""
    parser = Parser("Trains a ResNet for CIFAR-10 (He et al. 2015).")
    parser.add_argument(
        "-n", dest="model", type=bundled_model(tuple(BLOCKS_PER_STAGE)), default="resnet20",
        help=f"{', '.join(BLOCKS_PER_STAGE)} (default: resnet20)",
    )  # fmt: skip
    parser.add_argument("-e", "--epochs", type=whole(1), default=200, help="default: 200")
    parser.add_argument(
        "--lr", type=real(0, open_start=True), default=0.1, help="learning rate (default: 0.1)"
    )
    parser.add_argument("--wd", type=real(0), default=1e-4, help="weight decay (default: 1e-4)")
    parser.add_argument(
        "--batch-size", type=whole(2), help="default: 128 for CIFAR-10, 32 for the digits"
    )
    add_workers_flag(parser)
    add_common_flags(parser, "folder of the CIFAR-10 Python batches (default: data, if it exists)")
    return Options(**vars(parser.parse_args()))
