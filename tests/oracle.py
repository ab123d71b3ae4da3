"""Who is still there? Answered from /proc alone, by code that shares nothing with wattest."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

# A hop takes a millisecond or two, with a loaded machine in mind.
_HOP_SECONDS = 0.03
CREATURE = Path(__file__).parent / "zoo" / "creature.py"


@dataclass(frozen=True)
class Sighting:
    """A process that should not be there."""

    pid: int
    state: str
    how: str


class Oracle:
    """Knows every process of one creature: by its token in the command line, and by its ledger.

    The token survives a cleared environment, closed descriptors and changed sessions; the ledger
    also tells zombies, which have no command line.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
        self.token = f"zoo-{token_hex(8)}"
        self.ledger = folder / f"{self.token}.ledger"
        self.ledger.touch()
        self.ledger.chmod(0o666)
        self.looked_at = 0.0
        self._size_at_end = -1

    def argv(self, kind: str, python: str) -> tuple[str, ...]:
        """Return the command of a creature that this oracle knows."""
        return (python, "-I", "-S", str(CREATURE), kind, self.token, str(self.ledger))

    def births(self) -> set[tuple[int, int]]:
        """Return (PID, start) of every process that was ever written down."""
        lines = self.ledger.read_text().split("\n")[:-1]
        return {(int(pid), int(start)) for pid, start in (line.split() for line in lines)}

    def sightings(self) -> list[Sighting]:
        """Return every process of the creature that exists in any state, zombies included."""
        births = self.births()
        found = []
        for pid, stat in processes():
            state, start = stat[0].decode(), int(stat[19])
            if (pid, start) in births:
                found.append(Sighting(pid, state, "ledger"))
            elif self.token.encode() in proc_file(pid, "cmdline"):
                found.append(Sighting(pid, state, "token"))
        return found

    def await_births(self, count: int, seconds: float = 10.0) -> None:
        """Wait until the ledger has so many lines."""
        deadline = time.monotonic() + seconds
        while (lines := self.ledger.read_text().count("\n")) < count:
            assert time.monotonic() < deadline, f"only {lines} of {count} were born"
            time.sleep(0.005)

    def await_end(self, seconds: float = 2.0) -> list[Sighting]:
        """Return what is still there after so many seconds, nothing as soon as all are gone.

        A fork-hopper can slip through one look, but not without new lines in the ledger.
        """
        deadline = time.monotonic() + seconds
        while True:
            size = self.ledger.stat().st_size
            self.looked_at = time.monotonic()
            found = self.sightings()
            if not found:
                time.sleep(_HOP_SECONDS)
                if self.ledger.stat().st_size == size:
                    self._size_at_end = size
                    return []
                found = [Sighting(0, "?", "the ledger grows")]
            if time.monotonic() >= deadline:
                return found
            time.sleep(0.005)

    def destroy(self, seconds: float = 5.0) -> None:
        """Kill what is left, so that a failed test leaves nothing.

        Whoever finds the ledger closed cannot be born: that ends even a fork-hopper.
        """
        if self.ledger.suffix == ".ledger":
            self.ledger = self.ledger.rename(self.ledger.with_suffix(".closed"))
        if self.ledger.stat().st_size == self._size_at_end:
            return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            alive = [one for one in self.await_end(0) if one.state not in "ZX"]
            if not alive:
                return
            for one in alive:
                with suppress(ProcessLookupError):
                    if one.pid:
                        os.kill(one.pid, signal.SIGKILL)


def own_zombies() -> list[int]:
    """Return the zombies among the children of this very process."""
    return [pid for pid, stat in processes() if stat[0] == b"Z" and int(stat[1]) == os.getpid()]


def processes() -> Iterator[tuple[int, list[bytes]]]:
    """Yield every process: its PID, and what stands in its ``stat`` behind its name."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            pid = int(entry.name)
            if stat := proc_file(pid, "stat"):
                yield pid, stat.rpartition(b")")[2].split()


def proc_file(pid: int, name: str) -> bytes:
    """Return what a file of a process in /proc holds: nothing once the process is gone."""
    with suppress(OSError):
        return Path("/proc", str(pid), name).read_bytes()
    return b""
