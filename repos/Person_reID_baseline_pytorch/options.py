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

MODELS = ("densenet121",)
MODELS_OF_THE_ORIGINAL = ("hrnet18", "pcb")


@dataclass(frozen=True)
class Options(CommonOptions):
    """The flags, read and checked."""

    droprate: float
    workers: int


def read_options() -> Options:
    """Read the command line; a wrong flag ends the process with exit code 2."""
    parser = Parser("Trains DenseNet-121 for person re-identification.")
    parser.add_argument(
        "-n", dest="model", type=bundled_model(MODELS, MODELS_OF_THE_ORIGINAL),
        default=MODELS[0], help="densenet121",
    )  # fmt: skip
    parser.add_argument(
        "--total_epoch", dest="epochs", type=whole(1), default=60, help="default: 60"
    )
    parser.add_argument(
        "--lr", type=real(0, open_start=True), default=0.05, help="learning rate (default: 0.05)"
    )
    parser.add_argument(
        "--droprate", type=real(0, below=1), default=0.5, help="dropout before the head (0.5)"
    )
    parser.add_argument("--batch-size", type=whole(2), default=32, help="default: 32")
    add_workers_flag(parser)
    add_common_flags(parser, "folder of Market-1501 (default: data, if it exists)")
    return Options(**vars(parser.parse_args()))
