"""A powercap tree whose power follows what really runs: nothing, a training, a load, or both.

Programs say that they run by a file `NAME.PID` in a folder, which they poll too: beside the other
each is slower. A thread looks at that folder every few milliseconds, lets the counter run at the
power of what it finds, and keeps the whole history: what any span truly used, and what the load
truly did in it.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

WATTS: Mapping[frozenset[str], float] = {
    frozenset(): 20.0,
    frozenset({"training"}): 70.0,
    frozenset({"load"}): 60.0,
    frozenset({"training", "load"}): 90.0,
}
SPEEDS = {"training": 0.5, "load": 0.6}
"""How fast each is while the other runs, too; 1 is its speed alone."""
_PERIOD_SECONDS = 0.005

PROGRAM = """\
#!{python}
import os, sys, time
name, other, speed, epoch_seconds = {name!r}, {other!r}, {speed}, {epoch_seconds}
args = dict(zip(sys.argv[1::2], sys.argv[2::2]))
seconds = float(args["--seconds"]) * (1 + float(args.get("-e", 0)) / 100)
folder = {folder!r}
mark = os.path.join(folder, name + "." + str(os.getpid()))
open(mark, "w").close()
done, epoch, last = 0.0, 0, time.monotonic()
while done < seconds:
    time.sleep(0.005)
    now = time.monotonic()
    is_shared = any(one.startswith(other + ".") for one in os.listdir(folder))
    done, last = done + (now - last) * (speed if is_shared else 1.0), now
    while epoch_seconds and done >= (epoch + 1) * epoch_seconds:
        epoch += 1
        print("Epoch", epoch, flush=True)
os.unlink(mark)
print("Accuracy: 91.5")
"""


def program(python: str, folder: Path, name: str, epoch_seconds: float = 0.0) -> str:
    """The text of a program that does `--seconds` of work, and says so in the folder.

    A load prints `Epoch N` after every `epoch_seconds` of its work.
    """
    other = "load" if name == "training" else "training"
    return PROGRAM.format(
        python=python, folder=str(folder), name=name, other=other, speed=SPEEDS[name],
        epoch_seconds=epoch_seconds,
    )  # fmt: skip


class OccupiedMachine:
    """Lets the counter of one zone run, while entered.

    Args:
        zone: Its folder.
        folder: Where programs say that they run; must exist.
        wobble: What the power of anything but idle is multiplied with, by seconds.
    """

    def __init__(
        self, zone: Path, folder: Path, wobble: Callable[[float], float] = lambda seconds: 1.0
    ) -> None:
        self._counter, self._folder, self._wobble = zone / "energy_uj", folder, wobble
        self._times = [time.monotonic_ns()]
        self._joules, self._work = [0.0], [0.0]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> OccupiedMachine:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(5)

    def joules(self, start_ns: int, end_ns: int) -> float:
        """What was truly used between two monotonic times."""
        return self._at(self._joules, end_ns) - self._at(self._joules, start_ns)

    def load_seconds(self, start_ns: int, end_ns: int) -> float:
        """What the load truly did, in seconds of it running alone."""
        return self._at(self._work, end_ns) - self._at(self._work, start_ns)

    def _at(self, values: list[float], at_ns: int) -> float:
        place = min(max(bisect_right(self._times, at_ns), 1), len(self._times) - 1)
        before, after = self._times[place - 1], self._times[place]
        share = (at_ns - before) / (after - before)
        return values[place - 1] + share * (values[place] - values[place - 1])

    def _run(self) -> None:
        descriptor = os.open(self._counter, os.O_WRONLY)
        began_ns = self._times[0]
        while not self._ended.wait(_PERIOD_SECONDS):
            running = self._running()
            now_ns = time.monotonic_ns()
            seconds = (now_ns - self._times[-1]) / 1e9
            factor = self._wobble((now_ns - began_ns) / 1e9) if running else 1.0
            self._joules.append(self._joules[-1] + WATTS[running] * factor * seconds)
            speed = SPEEDS["load"] if "training" in running else 1.0
            self._work.append(self._work[-1] + speed * seconds * ("load" in running))
            # Last: a reader finds no time without its values.
            self._times.append(now_ns)
            os.pwrite(descriptor, b"%-19d\n" % round(1e6 * (1 + self._joules[-1])), 0)
        os.close(descriptor)

    def _running(self) -> frozenset[str]:
        """What runs now; whoever was killed cannot take its file away."""
        found = set()
        for one in self._folder.iterdir():
            if _is_alive(one.suffix[1:]):
                found.add(one.stem)
            else:
                one.unlink(missing_ok=True)
        return frozenset(found)


def _is_alive(pid: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] != b"Z"
