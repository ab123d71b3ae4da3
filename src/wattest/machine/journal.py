"""The journal of a shared CPU: when which experiment ran, so that no joule is counted twice.

Sessions that share the CPU's counters write their experiments into one file of the host. Whoever
closes a window reads there who else ran meanwhile. A span is a line at its begin and one at its
end; while it is open its writer holds a lock on a byte of the file (fcntl(2), open file description
locks), which the kernel lets go however the writer ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.errors import LeaseError
from wattest.files import read_text
from wattest.machine.lease import Claim, lock_folders, open_for_all, try_lock

_NAME = "shared-cpu.jsonl"
_PATIENCE_SECONDS = 10.0
_LOOK_SECONDS = 0.002
# struct flock of 64-bit Linux: type, whence, start, length, PID; and bytes that no line reaches.
_FLOCK = "hhqqi4x"
_PRESENCE = 1 << 61
_PROOF_MASK = (1 << 60) - 1


@dataclass(frozen=True)
class Neighbour:
    """Another experiment that ran at the same time, and for how many seconds."""

    experiment_id: str
    seconds: float


class Span:
    """One experiment of ours while it runs, from the start of its load to its end."""

    def __init__(self, journal: Journal, offset: int) -> None:
        self._journal = journal
        self._offset = offset

    def neighbours(self, opened_ns: int, closed_ns: int) -> list[Neighbour]:
        """Return who else ran between two moments of CLOCK_MONOTONIC, at most until now."""
        return self._journal.others(self._offset, opened_ns, closed_ns)


class Journal:
    """The host's journal as one session sees it; close it at the end.

    Args:
        session: The id of the session.
        claims: The counters that are shared; the session holds them.

    Raises:
        LeaseError: it cannot be opened, or who shares the counters with us writes another one.
    """

    def __init__(self, session: str, claims: Iterable[Claim]) -> None:
        self._session = session
        self._ends: dict[int, int] = {}
        self._from = 0
        self._boot = read_text(Path("/proc/sys/kernel/random/boot_id"))
        shared = sorted({claim for claim in claims if claim.shared}, key=lambda one: one.name)
        self._counters = [claim.name for claim in shared]
        with ExitStack() as closing:
            self._path = lock_folders()[0] / _NAME
            self._file = open_for_all(self._path)
            closing.callback(os.close, self._file)
            with self._alone():
                if not _is_locked(self._file, 0, 0):
                    os.ftruncate(self._file, 0)
                _lock(self._file, fcntl.F_RDLCK, _PRESENCE)
            for claim in shared:
                if claim.file is not None and os.access(claim.file, os.R_OK):
                    self._prove(claim.name, claim.file, closing)
            self._closing = closing.pop_all()

    def close(self) -> None:
        """Leave it; may be called twice."""
        self._closing.close()

    @contextmanager
    def span(self, experiment_id: str) -> Iterator[Span]:
        """Note that an experiment runs, for as long as this is entered.

        Raises:
            LeaseError: it cannot be noted, and others would not know of it.
        """
        size = os.fstat(self._file).st_size
        # What is over before it begins is no neighbour, and is not read again.
        self._from = min(
            (one["span"] for one in self._spans() if "end_ns" not in one), default=size
        )
        with ExitStack() as closing:
            with self._alone():
                offset = os.fstat(self._file).st_size
                _lock(self._file, fcntl.F_WRLCK, offset)
                closing.callback(_lock, self._file, fcntl.F_UNLCK, offset)
                self._write(
                    session=self._session, experiment=experiment_id, start_ns=time.monotonic_ns(),
                    boot=self._boot, counters=self._counters, span=offset,
                )  # fmt: skip
            closing.callback(self._end, offset)
            yield Span(self, offset)

    def others(self, own: int, opened_ns: int, closed_ns: int) -> list[Neighbour]:
        """Return who but the span `own` ran between two moments of it; the dead are ended."""
        seconds: dict[str, float] = {}
        for span in self._spans():
            if span["span"] == own:
                continue
            end_ns = min(span.get("end_ns", closed_ns), closed_ns)
            overlap_ns = end_ns - max(span["start_ns"], opened_ns)
            if overlap_ns > 0:
                name = span["experiment"]
                seconds[name] = seconds.get(name, 0.0) + overlap_ns / 1e9
        return [Neighbour(name, spent) for name, spent in seconds.items()]

    def _spans(self) -> list[dict[str, Any]]:
        """Return the spans on our counters since the machine started."""
        found: dict[int, dict[str, Any]] = {}
        for line in self._lines():
            if line.get("boot") == self._boot and set(self._counters) & set(line["counters"]):
                found[line["span"]] = line
            elif line.get("ends") in found:
                found[line["ends"]].setdefault("end_ns", line["end_ns"])
        for offset, span in found.items():
            if offset in self._ends:
                span.setdefault("end_ns", self._ends[offset])
            # Our own lock is none to us, and we never end our own span so.
            is_open = "end_ns" not in span and span["session"] != self._session
            if is_open and not _is_locked(self._file, offset, 1):
                span["end_ns"] = self._end(offset)
        return list(found.values())

    def _lines(self) -> Iterator[dict[str, Any]]:
        content = os.pread(self._file, os.fstat(self._file).st_size, self._from)
        for line in content.splitlines():
            # A line that was cut short by a kill is none.
            with contextlib.suppress(ValueError):
                found = json.loads(line)
                if isinstance(found, dict):
                    yield found

    def _end(self, offset: int) -> int:
        """Note the end of a span; one that cannot be noted ends when its lock is seen gone."""
        self._ends[offset] = now_ns = time.monotonic_ns()
        with contextlib.suppress(LeaseError), self._alone():
            self._write(ends=offset, end_ns=now_ns)
        return now_ns

    def _write(self, **line: object) -> None:
        """Append a line; it begins with a new one, since the last may have been cut short."""
        text = f"\n{json.dumps(line, separators=(',', ':'))}".encode()
        with contextlib.suppress(OSError):
            if os.pwrite(self._file, text, os.fstat(self._file).st_size) == len(text):
                return
        raise LeaseError(f"{self._path} cannot be written: is its disk full?")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not try_lock(self._file, self._path):
            if time.monotonic() >= deadline:
                raise LeaseError(
                    f"{self._path} stays locked: is another session stopped, or is this a network"
                    " file system? Name a folder on a disk of this machine in WATTEST_LOCK_DIR"
                )
            time.sleep(_LOOK_SECONDS)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _prove(self, name: str, counter: Path, closing: ExitStack) -> None:
        """See that all who share a counter write this very journal.

        Each holds a lock on one byte of the counter's own file, and the journal says which: a lock
        on any other byte is that of somebody who cannot see our spans.
        """
        descriptor = os.open(counter, os.O_RDONLY | os.O_CLOEXEC)
        closing.callback(os.close, descriptor)
        found = os.fstat(self._file)
        mine = 1 + ((found.st_dev << 40 ^ found.st_ino) & _PROOF_MASK)
        _lock(descriptor, fcntl.F_RDLCK, mine)
        if _is_locked(descriptor, 0, mine) or _is_locked(descriptor, mine + 1, 0):
            raise LeaseError(
                f"another session shares {name}, and its journal is not {self._path}: neither would"
                " know when the other trains; let both see one folder for locks (WATTEST_LOCK_DIR)"
            )


def _lock(descriptor: int, kind: int, start: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, start, 1, 0))


def _is_locked(descriptor: int, start: int, length: int) -> bool:
    """Tell whether another holds a lock on these bytes; length 0 is to the end of all files."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)
