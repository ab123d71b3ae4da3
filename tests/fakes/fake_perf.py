"""A `perf stat -x, -I` that counts energy at a known power; installed by `fakes.perf`.

Behaves as perf does: a line per event and interval on standard error, the interval so far upon
SIGINT. Its plan stands beside it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> int:
    """Count until somebody interrupts."""
    plan = json.loads(Path(sys.argv[0]).with_name("perf.json").read_text())
    arguments = sys.argv[1:]
    if plan.get("refuses"):
        print(plan["refuses"], file=sys.stderr)
        return 255
    events = arguments[arguments.index("-e") + 1].split(",")
    unknown = [event for event in events if event not in plan["watts"]]
    if unknown:
        print(f"event syntax error: '{unknown[0]}'", file=sys.stderr)
        return 129
    interval = int(arguments[arguments.index("-I") + 1]) / 1e3
    interrupted: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: interrupted.append(number))
    start = last = time.monotonic()
    while True:
        due = last + interval
        while not interrupted and (rest := due - time.monotonic()) > 0:
            time.sleep(min(rest, 0.01))
        now = time.monotonic()
        if now - start > plan.get("stops_after", 1e9):
            os.kill(os.getpid(), signal.SIGSTOP)
        quiet_from, quiet_until = plan.get("quiet", [1e9, 1e9])
        if quiet_from < now - start <= quiet_until:
            last = now
            if interrupted:
                return 130
            continue
        for event in events:
            joules = plan["watts"][event] * (now - last)
            if plan.get("stuck_after") is not None and now - start > plan["stuck_after"]:
                joules = 0.0
            zero_from, zero_until = plan.get("zero", [1e9, 1e9])
            joules = 0.0 if zero_from < now - start <= zero_until else joules
            value = (
                "<not counted>" if now - start > plan.get("blind_after", 1e9) else f"{joules:.2f}"
            )
            line = f"{now - start:.9f},{value},Joules,{event},{int((now - last) * 1e9)},100.00,,"
            print(f"     {line}", file=sys.stderr, flush=True)
        if interrupted:
            return 130
        if now - start > plan.get("dies_after", 1e9):
            print("perf: fatal", file=sys.stderr)
            return 1
        last = now


if __name__ == "__main__":
    sys.exit(main())
