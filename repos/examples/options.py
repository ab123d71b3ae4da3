"""The flags of this program."""

from __future__ import annotations

from runtime import CommonOptions, Parser, add_common_flags, bundled_model, real, whole

MODELS = ("mnist",)
MODELS_OF_THE_ORIGINAL = ("mnist_rnn", "mnist_ff", "siamese", "word_lm")


def read_options() -> CommonOptions:
    """Read the command line; a wrong flag ends the process with exit code 2."""
    parser = Parser("Trains a small convolutional network on MNIST.")
    parser.add_argument(
        "-n", dest="model", type=bundled_model(MODELS, MODELS_OF_THE_ORIGINAL),
        default=MODELS[0], help="mnist",
    )  # fmt: skip
    parser.add_argument("-e", "--epochs", type=whole(1), default=10, help="default: 10")
    parser.add_argument(
        "-l", "--lr", type=real(0, open_start=True), default=0.01,
        help="learning rate (default: 0.01)",
    )  # fmt: skip
    parser.add_argument("-b", "--batch-size", type=whole(2), default=32, help="default: 32")
    add_common_flags(parser, "folder of the MNIST idx files (default: data, if it exists)")
    return CommonOptions(**vars(parser.parse_args()))
