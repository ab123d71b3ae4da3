"""Holds CUDA contexts open on all visible GPUs, until its standard input ends or time is over.

Run as a program of its own, `python cudaholder.py SECONDS`: a context cannot be closed for sure in
a process that goes on. It imports nothing of wattest, says `ready` or why not, and cannot outlive
who holds its standard input.
"""

from __future__ import annotations

import ctypes
import signal
import sys

LIBRARY = "libcuda.so.1"


def hold() -> str:
    """Open a context on every visible GPU; return why that cannot be done, empty if it was."""
    try:
        cuda = ctypes.CDLL(LIBRARY)
    except OSError as error:
        return f"{LIBRARY} cannot be loaded: {error}"
    count = ctypes.c_int()
    steps = [("cuInit", (0,)), ("cuDeviceGetCount", (ctypes.byref(count),))]
    for name, words in steps:
        if code := getattr(cuda, name)(*words):
            return f"{name} fails with code {code}"
    for index in range(count.value):
        device, context = ctypes.c_int(), ctypes.c_void_p()
        if code := cuda.cuDeviceGet(ctypes.byref(device), index):
            return f"cuDeviceGet fails with code {code}"
        if code := cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device):
            return f"cuCtxCreate fails with code {code}"
    return "" if count.value else "CUDA sees no GPU"


def main() -> None:
    """Hold them."""
    signal.alarm(int(sys.argv[1]))
    problem = hold()
    print(problem or "ready", flush=True)
    if not problem:
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
