"""What the bundled programs have in common: flags, one-line errors, seed, device.

The same file stands in each program, so that each runs alone. It imports without PyTorch, so that
a wrong flag or a missing package is answered at once.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import torch

GPU_MEMORY_LIMIT = "WATTEST_GPU_MEMORY_LIMIT_MB"
DEFAULT_DATA = Path("data")
DRAWN_SEEDS = 2**31
LARGEST_SEED = 2**63 - 1


class TrainingError(Exception):
    """Bad input, or a training that failed; the message is one line for the reader."""


class Parser(argparse.ArgumentParser):
    """A parser without abbreviations that answers a wrong flag in one line."""

    def __init__(self, description: str) -> None:
        super().__init__(prog="train.sh", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"error: {_one_line(message)} (see --help)\n")


def whole(least: int, most: int = LARGEST_SEED) -> Callable[[str], int]:
    """Make an argument type: a whole number within [least, most]."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least} to {most}, not {text!r}"
            )
        return value

    return parse


def real(
    least: float, *, below: float = math.inf, open_start: bool = False
) -> Callable[[str], float]:
    """Make an argument type: a finite number in [least, below), or in (least, below)."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value < below or (open_start and value == least):
            bounds = f"{'above' if open_start else 'of at least'} {least:g}"
            if below < math.inf:
                bounds += f" and below {below:g}"
            raise argparse.ArgumentTypeError(f"expected a finite number {bounds}, not {text!r}")
        return value

    return parse


def add_common_flags(parser: Parser, data_help: str) -> None:
    """Add --seed, --device and --data, as `CommonOptions` names them."""
    parser.add_argument(
        "--seed", type=whole(0), help="whole number from 0; drawn and printed if not given"
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument("--data", type=Path, help=data_help)


def add_workers_flag(parser: Parser) -> None:
    """Add --workers, which never changes a result."""
    parser.add_argument(
        "--workers",
        type=whole(0, 1024),
        default=0,
        help="processes that load data; 0 (default) loads in the training itself",
    )


def bundled_model(bundled: Sequence[str], elsewhere: Sequence[str] = ()) -> Callable[[str], str]:
    """Make an argument type: a model of this program; say so of one that only the original has."""

    def parse(text: str) -> str:
        if text in bundled:
            return text
        known = f"bundled here: {', '.join(bundled)}"
        if text in elsewhere:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not bundled ({known}); for it, point the registry's path at a clone "
                "of the original program"
            )
        raise argparse.ArgumentTypeError(f"there is no model {text!r} ({known})")

    return parse


@dataclass(frozen=True)
class CommonOptions:
    """The flags that every program has."""

    model: str
    epochs: int
    lr: float
    batch_size: int
    seed: int | None
    device: str
    data: Path | None


def say(line: str) -> None:
    """Print one line, seen at once also where output goes to a file or a pipe."""
    print(line, flush=True)


def run(main: Callable[[], None]) -> NoReturn:
    """Run a program and end the process: 0 done, 1 failed, 2 wrong flags, 130 interrupted.

    A failure is one line on the standard error. Output is UTF-8 whatever the locale says.
    """
    for stream in (sys.stdout, sys.stderr):
        # the registry's patterns hold Chinese words, which an ASCII locale could not print
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    try:
        main()
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except ImportError as fault:
        _fail(f"{fault}; install it for {sys.executable}: pip install torch scikit-learn", 1)
    except TrainingError as fault:
        _fail(str(fault), 1)
    except (OSError, MemoryError, RuntimeError) as fault:
        _fail(f"{type(fault).__name__}: {fault}", 1)
    # at exit, Python would search all of PyTorch for garbage: a second or more, for nothing
    gc.freeze()
    sys.exit(0)


def start(options: CommonOptions) -> torch.device:
    """Seed PyTorch, choose the device, and print both with the version and the threads.

    Raises:
        TrainingError: The device or the GPU memory limit is not possible here.
    """
    import torch

    device = _device(options.device)
    seed = secrets.randbelow(DRAWN_SEEDS) if options.seed is None else options.seed
    torch.manual_seed(seed)
    origin = "drawn, none was given" if options.seed is None else "given"
    say(f"torch {torch.__version__}, device {device}, {torch.get_num_threads()} threads")
    if device.type == "cuda":
        say(f"gpu {torch.cuda.get_device_name(device)}, {_limit_gpu_memory(device)}")
    say(f"seed {seed} ({origin})")
    return device


def data_folder(options: CommonOptions) -> Path | None:
    """Return the folder to read: the one asked for, else `data` here if it exists, else None.

    Raises:
        TrainingError: The folder that was asked for does not exist.
    """
    if options.data is None:
        return DEFAULT_DATA if DEFAULT_DATA.is_dir() else None
    if not options.data.is_dir():
        raise TrainingError(f"--data {options.data}: there is no such folder")
    return options.data


def check_finite(loss: float, where: str) -> None:
    """Raise `TrainingError` where a loss is not a finite number."""
    if not math.isfinite(loss):
        raise TrainingError(f"the training diverged: the loss of {where} is {loss}")


def memory_fraction(limit_mb: str, total_bytes: int) -> float:
    """Return the share of a GPU's memory that a limit in MB (2**20 bytes) stands for, at most 1.

    Raises:
        TrainingError: The limit is not a positive whole number.
    """
    if not limit_mb.isascii() or not limit_mb.isdigit() or int(limit_mb) == 0:
        raise TrainingError(f"{GPU_MEMORY_LIMIT}={limit_mb!r} is not a positive whole number of MB")
    return min(1.0, int(limit_mb) * 2**20 / total_bytes)


def _limit_gpu_memory(device: torch.device) -> str:
    import torch

    limit_mb = os.environ.get(GPU_MEMORY_LIMIT, "")
    if not limit_mb:
        return "no memory limit"
    total_bytes = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(memory_fraction(limit_mb, total_bytes), device)
    return f"memory limit {limit_mb} MB"


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise TrainingError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise TrainingError(f"--device {name}: this PyTorch sees no CUDA device")
    index = torch.cuda.current_device() if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise TrainingError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices")
    return torch.device("cuda", index)


def _one_line(text: str) -> str:
    if "Original Traceback" in text:  # a worker's failure: its own message is the last line
        text = text.rstrip().rpartition("\n")[2]
    return " ".join(text.split())


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {_one_line(message)}", file=sys.stderr, flush=True)
    sys.exit(code)
