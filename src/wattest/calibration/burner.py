"""Known load patterns for ``wattest calibrate``; run as a program, it imports nothing of wattest.

    python burner.py cpu|gpu PERIOD_SECONDS HIGH_SHARE

The load is on for HIGH_SHARE of every period of CLOCK_MONOTONIC, so that all processes and boards
rise and fall together: 1 is steady load, 0 none (on a GPU: an open CUDA context without work).
`cpu` keeps every CPU it may run on busy, `gpu` every visible CUDA device. It prints `ready` once
the load is on, and runs until it is ended.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable

_SIDE = 2048
_SPINS = 2000


def main() -> None:
    """Load this machine until ended."""
    kind, period, share = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    work = _multiply_on_gpus() if kind == "gpu" else _spin
    if kind == "cpu":
        context = multiprocessing.get_context("fork")
        for _ in range(len(os.sched_getaffinity(0)) - 1):
            context.Process(target=_load, args=(work, period, share), daemon=True).start()
    print("ready", flush=True)
    _load(work, period, share)


def _load(work: Callable[[], int], period: float, share: float) -> None:
    while True:
        begin = time.monotonic() // period * period
        while time.monotonic() < begin + share * period:
            work()
        time.sleep(max(0.0, begin + period - time.monotonic()))


def _spin() -> int:
    return sum(range(_SPINS))


def _multiply_on_gpus() -> Callable[[], int]:
    import torch  # the interpreter that runs this may have none: then nobody asks for a GPU

    devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    factors = [torch.rand(_SIDE, _SIDE, device=device) for device in devices]
    products = [torch.empty_like(factor) for factor in factors]

    def multiply() -> int:
        for factor, product in zip(factors, products, strict=True):
            torch.matmul(factor, factor, out=product)
        for device in devices:
            torch.cuda.synchronize(device)
        return len(devices)

    for _ in range(20):
        multiply()
    return multiply


if __name__ == "__main__":
    main()
