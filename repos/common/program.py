"""A program and its surroundings: flags, one-line errors, seed, device.

It imports without PyTorch, so that a wrong flag or a missing package is answered at once.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import torch

GPU_MEMORY_LIMIT = "WATTEST_GPU_MEMORY_LIMIT_MB"
DRAWN_SEEDS = 2**31
LARGEST_SEED = 2**63 - 1


class TrainingError(Exception):
    """Bad input, or a training that failed; the message is one line for the reader."""


def argument(kind: type, holds: Callable[[Any], bool], wanted: str) -> Callable[[str], Any]:
    """Make an argument type: what `kind` makes of a text, where that `holds`."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
            if holds(value):
                return value
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"expected {wanted}, not {text!r}")

    return parse


def whole(least: int, most: int = LARGEST_SEED) -> Callable[[str], int]:
    """Make an argument type: a whole number within [least, most]."""
    return argument(int, lambda n: least <= n <= most, f"a whole number from {least} to {most}")


learning_rate = argument(float, lambda rate: 0 < rate < math.inf, "a finite number above 0")
weight_decay = argument(float, lambda decay: 0 <= decay < math.inf, "a finite number of at least 0")
dropout = argument(float, lambda share: 0 <= share < 1, "a number of at least 0 and below 1")


class Parser(argparse.ArgumentParser):
    """A parser that answers a wrong flag in one line, and has the flags of every program."""

    def __init__(self, description: str, models: Sequence[str], data: str) -> None:
        super().__init__(prog="train.sh", description=description, allow_abbrev=False)
        bundled = ", ".join(models)
        elsewhere = "others are not bundled: point the registry's path at a clone that has them"
        model = argument(str, models.__contains__, f"{bundled} ({elsewhere})")
        add = self.add_argument
        add("-n", dest="model", type=model, default=models[0], help=f"{bundled} ({models[0]})")
        add("--seed", type=whole(0), help="whole number from 0; drawn and printed if not given")
        add("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
        add("--data", type=Path, help=f"folder of {data} (default: data, if it exists)")
        add("--workers", type=whole(0, 1024), default=0, help="processes that load data (0: none)")

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"error: {_one_line(message)} (see --help)\n")


def run(parser: Parser, train: Callable[[argparse.Namespace], None]) -> NoReturn:
    """Read the flags, train, and end the process: 0 done, 1 failed, 2 wrong flags, 130 interrupted.

    A failure is one line on the standard error. Output is UTF-8 whatever the locale says, and each
    line is seen at once, also where it goes to a file or a pipe.
    """
    for stream in (sys.stdout, sys.stderr):
        # the registry's patterns hold Chinese words, which an ASCII locale could not print
        stream.reconfigure(  # type: ignore[union-attr]
            encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
    try:
        options = parser.parse_args()
        print("training:", ", ".join(f"{name} {value}" for name, value in vars(options).items()))
        train(options)
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


def start(seed: int | None, device_name: str) -> torch.device:
    """Seed PyTorch, choose the device, and print both with the version and the threads.

    Raises:
        TrainingError: The device or the GPU memory limit is not possible here.
    """
    import torch

    device = _device(device_name)
    origin = "drawn, none was given" if seed is None else "given"
    seed = secrets.randbelow(DRAWN_SEEDS) if seed is None else seed
    torch.manual_seed(seed)
    print(f"torch {torch.__version__}, device {device}, {torch.get_num_threads()} threads")
    if device.type == "cuda":
        print(f"gpu {torch.cuda.get_device_name(device)}, {limit_gpu_memory(device)}")
    print(f"seed {seed} ({origin})")
    return device


def data_folder(asked_for: Path | None) -> Path | None:
    """Return the folder to read: the one asked for, else `data` here if it exists, else None.

    Raises:
        TrainingError: The folder that was asked for does not exist.
    """
    if asked_for is None:
        return Path("data") if Path("data").is_dir() else None
    if not asked_for.is_dir():
        raise TrainingError(f"--data {asked_for}: there is no such folder")
    return asked_for


def limit_gpu_memory(device: torch.device) -> str:
    """Set the limit that stands in `GPU_MEMORY_LIMIT`, in MB (2**20 bytes); return it in words.

    Raises:
        TrainingError: The limit is not a positive whole number.
    """
    import torch

    limit_mb = os.environ.get(GPU_MEMORY_LIMIT, "")
    if not limit_mb:
        return "no memory limit"
    if not limit_mb.isascii() or not limit_mb.isdigit() or int(limit_mb) == 0:
        raise TrainingError(f"{GPU_MEMORY_LIMIT}={limit_mb!r} is not a positive whole number of MB")
    share = int(limit_mb) * 2**20 / torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, share), device)
    return f"memory limit {limit_mb} MB"


def _device(name: str) -> torch.device:
    import torch

    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if name == "auto":
        name = "cuda" if gpus else "cpu"
    if name == "cuda" and gpus:
        name = gpus[torch.cuda.current_device()]
    if name not in ("cpu", *gpus):
        raise TrainingError(f"--device {name}: here are auto, {', '.join(('cpu', *gpus))}")
    return torch.device(name)


def _one_line(text: str) -> str:
    if "Original Traceback" in text:  # a worker's failure: its own message is the last line
        text = text.rstrip().rpartition("\n")[2]
    return " ".join(text.split())


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {_one_line(message)}", file=sys.stderr, flush=True)
    sys.exit(code)
