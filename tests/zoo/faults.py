"""The fault matrix as data: what befalls a session, and how a session is set up for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle import Oracle

SESSION = Path(__file__).parent / "session.py"
SOURCE = Path(__file__).parents[2] / "src"

# How many processes a creature must have before the fault befalls it.
BIRTHS = {
    "polite": 3,
    "stubborn": 3,
    "daemon": 3,
    "bare-daemon": 4,
    "closed": 2,
    "stopped": 2,
    "spawner": 20,
    "bomb": 128,
    "hopper": 20,
    "session-hopper": 20,
    "subreaper": 3,
    "loader": 5,
    "fails": 1,
    "zoo": 20,
}


@dataclass
class Session:
    """A running session, as the faults see it."""

    process: subprocess.Popen[str]
    guard: int = 0
    supervisor: int = 0

    def hear(self) -> dict[str, Any]:
        """Return the session's next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the session ended with {self.process.wait()}"
        told: dict[str, Any] = json.loads(line)
        return told

    def tell(self, **what: object) -> None:
        """Send the session a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def kill(self, *pids: int) -> None:
        """SIGKILL some processes, as nearly at once as can be."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def running(
    oracle: Oracle,
    child: str,
    folder: Path,
    *,
    python: str = sys.executable,
    await_start: bool = True,
    **options: Any,
) -> Iterator[Session]:
    """Run a session with a creature; whatever happens, leave neither behind."""
    folder.mkdir(exist_ok=True)
    spec = {"kind": "tree", "rung": "guard", **options}
    spec |= {"argv": oracle.argv(child, python), "folder": str(folder)}
    process = subprocess.Popen(
        [sys.executable, str(SESSION)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    session = Session(process)
    try:
        session.tell(**spec)
        if await_start:
            pids = session.hear()
            session.guard, session.supervisor = pids["guard"], pids["supervisor"]
            session.hear()
            oracle.await_births(BIRTHS[child])
        yield session
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        oracle.destroy()


def await_end_of_marked(owner: int, seconds: float) -> list[int]:
    """Wait until no live process carries the mark of `owner`; return those that still do."""
    deadline = time.monotonic() + seconds
    mark = f"WATTEST_OWNER={owner}:".encode()
    while True:
        pids = [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]
        marked = [pid for pid in pids if mark in _environment(pid)]
        if not marked or time.monotonic() >= deadline:
            return marked
        time.sleep(0.005)


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _stop(session: Session) -> None:
    session.tell(do="stop", grace_seconds=0.05)
    session.hear()


def _end(how: str) -> Callable[[Session], None]:
    def fault(session: Session) -> None:
        session.tell(do=how)
        session.process.wait(10)

    return fault


def _signal(number: signal.Signals) -> Callable[[Session], None]:
    def fault(session: Session) -> None:
        session.process.send_signal(number)

    return fault


def _kill(*names: str) -> Callable[[Session], None]:
    """SIGKILL some of session, guard and supervisor."""

    def fault(session: Session) -> None:
        pids = {
            "session": session.process.pid,
            "guard": session.guard,
            "supervisor": session.supervisor,
        }
        session.kill(*(pids[name] for name in names))

    return fault


def _kill_all(session: Session) -> None:
    """SIGKILL all three at once: none of them may see another die."""
    for pid in (session.guard, session.supervisor):
        os.kill(pid, signal.SIGSTOP)
    session.kill(session.process.pid, session.guard, session.supervisor)


def _stop_guard_and_kill_session(session: Session) -> None:
    os.kill(session.guard, signal.SIGSTOP)
    session.kill(session.process.pid)


def _kill_one_after_the_other(session: Session) -> None:
    session.kill(session.supervisor)
    time.sleep(0.002)
    session.kill(session.process.pid)


FAULTS: dict[str, Callable[[Session], None]] = {
    "stop in order": _stop,
    "normal end": _end("return"),
    "KeyboardInterrupt": _end("raise"),
    "os._exit": _end("exit"),
    "segmentation fault": _end("segfault"),
    "SIGINT": _signal(signal.SIGINT),
    "SIGTERM": _signal(signal.SIGTERM),
    "SIGHUP": _signal(signal.SIGHUP),
    "SIGKILL of the session": _kill("session"),
    "SIGKILL of the supervisor": _kill("supervisor"),
    "SIGKILL of the guard": _kill("guard"),
    "SIGKILL of supervisor, then session": _kill_one_after_the_other,
    "SIGKILL of supervisor and session": _kill("supervisor", "session"),
    "SIGKILL of guard and session": _kill("guard", "session"),
    "SIGSTOP of the guard, SIGKILL of the session": _stop_guard_and_kill_session,
    "SIGKILL of all three": _kill_all,
}
# Only the kernel is left to clear up then: a PID namespace does, the others need the next sweep.
NEEDS_NAMESPACE = ("SIGKILL of all three",)
