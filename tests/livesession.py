"""A pytest session that is still running while a test looks at it, and does things to it."""

from __future__ import annotations

import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from secrets import token_hex
from types import TracebackType

from oracle import Oracle, Sighting, proc_file, processes

from conftest import Project, quick_pytest

_TOKEN = "WATTEST_TEST_TOKEN"
_LOOK_SECONDS = 0.03
_ON_TERMINAL = 'tty=$1; shift; exec "$@" <"$tty" >"$tty" 2>&1'


class LiveSession:
    """Runs the experiments of a project in a real pytest; leaves nothing behind.

    Everything that the session starts inherits a token in its environment, by which `left` finds
    it without asking wattest.

    Args:
        project: whose experiments to run.
        arguments: further arguments of pytest.
        terminal: give it a terminal of its own, as an interactive shell would.
        environment: further environment variables.
    """

    def __init__(
        self,
        project: Project,
        *arguments: str,
        terminal: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.token = token_hex(8)
        self._seen: set[tuple[int, int]] = set()
        self._path = project.path / f"output_{self.token}.txt"
        self._master = -1
        command = quick_pytest(*arguments)
        if "--config" not in arguments:
            command += ["--config", "settings/test.json"]
        command.append("experiments")
        # Where these tests run in CI, the session's terminal is a person's all the same.
        inherited = {name: value for name, value in os.environ.items() if name != "CI"}
        with self._path.open("wb") as output:
            slave = -1
            if terminal:
                self._master, slave = pty.openpty()
                # A session leader that opens a terminal gets it as its controlling terminal.
                command = ["/bin/sh", "-c", _ON_TERMINAL, "sh", os.ttyname(slave), *command]
            self._process = subprocess.Popen(
                command,
                cwd=project.path,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**inherited, **(environment or {}), _TOKEN: self.token},
            )
        if slave >= 0:
            # The child must have opened it before the last descriptor here is closed.
            self.until(lambda: self._has_terminal(), "the terminal is the session's", 10)
            os.close(slave)

    @property
    def pid(self) -> int:
        """PID of pytest."""
        return self._process.pid

    def output(self) -> str:
        """Return what it has written so far."""
        self._pump()
        return self._path.read_bytes().decode("utf-8", errors="replace")

    def until(self, state: Callable[[], object], what: str, seconds: float = 20) -> None:
        """Wait for a state while the session runs."""
        deadline = time.monotonic() + seconds
        while not state():
            self._pump()
            self.look()
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self.output()}"
            assert self._process.poll() is None, f"it ended before: {what}\n{self.output()}"
            time.sleep(_LOOK_SECONDS)

    def await_text(self, text: str, seconds: float = 20) -> None:
        """Wait until it has written something."""
        self.until(lambda: text in self.output(), f"{text!r} is written", seconds)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to pytest alone."""
        self.look()
        self._process.send_signal(number)

    def type(self, keys: bytes) -> None:
        """Type on the terminal."""
        self.look()
        os.write(self._master, keys)

    def hang_up(self) -> None:
        """Close the terminal, as a lost connection does."""
        self.look()
        self._pump()
        os.close(self._master)
        self._master = -1

    def wait(self, seconds: float = 20) -> int:
        """Return the exit code of pytest."""
        deadline = time.monotonic() + seconds
        while (code := self._process.poll()) is None:
            self._pump()
            assert time.monotonic() < deadline, f"still running after {seconds} s:\n{self.output()}"
            time.sleep(_LOOK_SECONDS)
        self._pump()
        return code

    def look(self) -> list[Sighting]:
        """Return all processes of the session but pytest, and remember them: zombies hide.

        A zombie that init has inherited from a killed pytest is init's to reap, and left out.
        """
        found = []
        for pid, stat in processes():
            born = (pid, int(stat[19]))
            if pid == self.pid:
                continue
            if born not in self._seen:
                variables = proc_file(pid, "environ").split(b"\0")
                if f"{_TOKEN}={self.token}".encode() not in variables:
                    continue
                self._seen.add(born)
            if stat[0] == b"Z" and stat[1] == b"1":
                continue
            found.append(Sighting(pid, stat[0].decode(), "environment"))
        return found

    def left(self, *oracles: Oracle, seconds: float = 2.0) -> list[Sighting]:
        """Return what is still there after so many seconds, none as soon as all are gone."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.look() + [one for oracle in oracles for one in oracle.sightings()]
            if not found or time.monotonic() >= deadline:
                return found
            time.sleep(_LOOK_SECONDS)

    def __enter__(self) -> LiveSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
        for one in self.left(seconds=3):
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)

    def _has_terminal(self) -> bool:
        stat = proc_file(self.pid, "stat").rpartition(b")")[2].split()
        return stat[4] != b"0" and b"pytest" in proc_file(self.pid, "cmdline")

    def _pump(self) -> None:
        """Take over what stands on the terminal; a full one would stop the session."""
        while self._master >= 0 and select.select([self._master], [], [], 0)[0]:
            try:
                text = os.read(self._master, 65536)
            except OSError:
                return
            with self._path.open("ab") as file:
                file.write(text)


class Stage:
    """A project whose trainings are creatures: a foreground and a load that an oracle knows."""

    def __init__(self, project: Project, foreground: str = "polite", load: str = "polite") -> None:
        self.project = project
        self.oracles: list[Oracle] = []
        project.program("toy", self._cast("toy", foreground))
        project.load(self._cast("busy", load))
        self.settings()

    def settings(self, *entries: Mapping[str, object], **top: object) -> None:
        """Write settings, by default with one parallel experiment that would take a minute."""
        training = {"model": "small", "hyperparameters": {"seconds": 0.3}}
        entry = {
            "foreground": {"repo": "toy", **training},
            "background": {"repo": "busy", **training},
        }
        self.project.settings(*(entries or (entry,)), **top)

    def _cast(self, name: str, kind: str) -> str:
        oracle = Oracle(self.project.path / f"oracle_{name}")
        self.oracles.append(oracle)
        command = shlex.join(oracle.argv(kind, sys.executable))
        return f"#!/bin/sh\necho {name} begins\nexec {command}\n"

    def await_births(self, session: LiveSession, count: int = 3) -> None:
        """Wait until foreground and load are up."""
        for oracle in self.oracles:
            ledger = oracle.ledger
            session.until(lambda: ledger.read_text().count("\n") >= count, "the trainings are up")  # noqa: B023
