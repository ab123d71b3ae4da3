"""The end of a supervision that lives in pytest: starts it, asks it, and notices its death."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from wattest.errors import ProcessError
from wattest.process.mark import OWNER_VARIABLE, ROLE_VARIABLE, TREE_VARIABLE, Owner
from wattest.process.supervisor import linux, wire
from wattest.process.sweep import kill_tree

_PROGRAM = Path(__file__).absolute().parent / "supervisor" / "__main__.py"
# A start takes some 30 ms; on a machine full of trainings it may take a hundred times that.
_START_SECONDS = 30.0
_CLEARING_SECONDS = 5.0
# Letting go takes milliseconds; a supervisor that hangs is killed after this time.
_END_SECONDS = 2.0
_LONGEST_POLL_SECONDS = 3600.0


class Handle:
    """A guard and its supervisor, as their owner sees them.

    Nothing here runs concurrently: the supervisor does what must happen at once. A handle that is
    forgotten, or whose process ends in any way, takes its tree with it.

    Attributes:
        guard_pid: PID of the guard, a child of this process.
        supervisor_pid: PID of the supervisor.
        is_over: whether the other end has closed: the supervisor is dead.
    """

    def __init__(self, spec: Mapping[str, Any], owners: Sequence[int], tree: str = "") -> None:
        """Start both and wait for their first event, kept in `hello`.

        Raises:
            ProcessError: an owner is gone, or the supervision did not come up; with its words.
        """
        self.supervisor_pid = 0
        self.is_over = False
        self._tree = tree
        self._events: list[wire.Message] = []
        self._made_by = os.getpid()
        self._waiting: set[int] = set()
        self._replies: dict[int, wire.Message] = {}
        self._last_id = 0
        self._guard: subprocess.Popen[bytes] | None = None
        self._guard_pidfd = -1
        self._supervisor_pidfd = -1
        try:
            self._errors = _scratch("wattest-errors")
            self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise ProcessError(f"cannot start the supervisor: {error}") from error
        try:
            with theirs:
                self._start(spec, theirs.fileno(), owners)
            self.hello = self._await_event("tried" if spec["mission"] == "trial" else "ready")
            self.supervisor_pid = self.hello.get("pid", 0)
            if self.supervisor_pid:
                self._supervisor_pidfd = linux.pidfd_open(self.supervisor_pid)
        except BaseException:
            self.close()
            raise

    @property
    def guard_pid(self) -> int:
        """PID of the guard, 0 if there is none."""
        return self._guard.pid if self._guard else 0

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._link.fileno() < 0

    def fileno(self) -> int:
        """Return a descriptor that is readable when a packet, or the end, has come."""
        return self._link.fileno()

    def request(self, do: str, timeout_seconds: float, **fields: object) -> wire.Message:
        """Ask, and wait for the answer.

        Raises:
            ProcessError: there was none in time, or guard or supervisor are gone.
        """
        self._last_id += 1
        asked = self._last_id
        packet = wire.pack({"id": asked, "do": do, **fields})
        deadline = time.monotonic() + timeout_seconds
        self._waiting.add(asked)
        try:
            if not self._send(packet, timeout_seconds):
                self.is_over = True
            while asked not in self._replies:
                left = deadline - time.monotonic()
                if self.is_over:
                    raise self.lost()
                if left <= 0:
                    raise ProcessError(
                        f"the supervisor (PID {self.supervisor_pid}) did not answer {do!r}"
                        f" within {timeout_seconds:g} s"
                    )
                self.pump(left)
            return self._replies.pop(asked)
        finally:
            self._waiting.discard(asked)

    def pump(self, timeout_seconds: float = 0.0) -> None:
        """Take in what has come, waiting up to `timeout_seconds` for the first packet."""
        if self.is_closed or self.is_over:
            return
        poller = select.poll()
        poller.register(self._link, select.POLLIN)
        wait = min(timeout_seconds, _LONGEST_POLL_SECONDS)
        while poller.poll(wait * 1000) and not self.is_over:
            wait = 0.0
            self._take_in()

    def take_event(self, kind: str) -> wire.Message | None:
        """Return and forget the first waiting event of a kind.

        Raises:
            ProcessError: there is none, and none can come: guard or supervisor are gone.
        """
        self.pump()
        for index, event in enumerate(self._events):
            if event["event"] == kind:
                return self._events.pop(index)
        if self.is_over and not self.is_closed:
            raise self.lost()
        return None

    def lost(self) -> ProcessError:
        """Wait until the tree of a dead supervision is dead too; return the error that tells it."""
        guard_was_killed = any(event["event"] == "lost" for event in self._events)
        dead = "the guard" if guard_was_killed else "the supervisor"
        fate = "its tree was killed"
        if not self._tree:
            # A keeper goes on without its guard, and a guard without its keeper.
            fate = "the other one goes on"
        elif not self._await_guard(_CLEARING_SECONDS):
            fate = "the guard is still busy killing its tree"
        elif self._both_were_killed():
            dead = "guard and supervisor"
            fate = f"{kill_tree(self._tree)} processes of the tree were found by mark and killed"
        pids = f"guard PID {self.guard_pid}, supervisor PID {self.supervisor_pid}"
        return ProcessError(
            f"{dead} of a process tree died unexpectedly; {fate} ({pids}){self._last_words()}"
        )

    def kill_supervisor(self) -> bool:
        """SIGKILL a supervisor that does not answer; return whether its tree is dead too."""
        self._signal_supervisor(signal.SIGKILL)
        if not self._await_guard(_CLEARING_SECONDS):
            return False
        if self._both_were_killed():
            kill_tree(self._tree)
        return True

    def kill_both(self) -> None:
        """SIGKILL supervisor and guard, where neither must act any more."""
        self._signal_supervisor(signal.SIGKILL)
        if self._guard is not None:
            self._guard.kill()

    def __del__(self) -> None:
        if hasattr(self, "_link") and not sys.is_finalizing():
            self.close()

    def close(self) -> None:
        """Let go: the supervisor kills what is left and ends; reaps the guard. Idempotent."""
        if self.is_closed:
            return
        if self._made_by != os.getpid():
            # A fork of the owner only drops its copy.
            self._link.close()
            self._drop()
            return
        self.pump()
        self._send(wire.pack({"id": 0, "do": "end"}), 0.0)
        self._link.close()
        if not self._await_guard(_END_SECONDS):
            self.kill_supervisor()
        elif self._both_were_killed():
            kill_tree(self._tree)
        self._drop()

    def _start(self, spec: Mapping[str, Any], control: int, owners: Sequence[int]) -> None:
        if not sys.executable:
            raise ProcessError("sys.executable is empty: no Python to run the supervisor with")
        output: int = spec.get("output", -1)
        pidfds: list[int] = []
        spec_file = _scratch("wattest-spec")
        try:
            for pid in dict.fromkeys((os.getpid(), *owners)):
                pidfds.append(_owner_pidfd(pid))
            full = {**spec, "control": control, "owners": pidfds, "output": output}
            spec_file.write(wire.pack(full))
            spec_file.flush()
            passed = [control, spec_file.fileno(), *pidfds, *([output] if output >= 0 else [])]
            environment = {
                **os.environ,
                OWNER_VARIABLE: str(Owner.current()),
                ROLE_VARIABLE: "guard",
                TREE_VARIABLE: self._tree,
            }
            argv = [sys.executable, "-I", "-S", str(_PROGRAM), str(spec_file.fileno())]
            with _interrupts_held():
                self._guard = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    env=environment,
                    pass_fds=passed,
                    start_new_session=True,
                )
                self._guard_pidfd = linux.pidfd_open(self._guard.pid)
        except OSError as error:
            raise ProcessError(f"cannot start the supervisor: {error}") from error
        finally:
            spec_file.close()
            for pidfd in pidfds:
                os.close(pidfd)

    def _await_event(self, kind: str) -> wire.Message:
        deadline = time.monotonic() + _START_SECONDS
        while (event := self.take_event(kind)) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ProcessError(f"the supervisor was not ready within {_START_SECONDS:g} s")
            self.pump(left)
        return event

    def _signal_supervisor(self, number: signal.Signals) -> None:
        if self._supervisor_pidfd >= 0:
            with suppress(ProcessLookupError):
                linux.pidfd_send_signal(self._supervisor_pidfd, number)

    def _await_guard(self, seconds: float) -> bool:
        if self._guard is None:
            return True
        if self._guard.returncode is None:
            # Somebody may have stopped it.
            self._guard.send_signal(signal.SIGCONT)
            # Popen.wait with a timeout looks at growing intervals, up to 50 ms.
            poller = select.poll()
            poller.register(self._guard_pidfd, select.POLLIN)
            if not poller.poll(seconds * 1000):
                return False
            self._guard.wait()
        return True

    def _both_were_killed(self) -> bool:
        """Return whether nobody was left to clear up; true only for a dead guard with a tree.

        A supervisor that sees its guard die says so, and kills the tree before it ends itself.
        """
        if self._guard is None or not self._tree:
            return False
        told = any(event["event"] == "lost" for event in self._events)
        return (self._guard.returncode or 0) < 0 and not told

    def _send(self, packet: bytes, timeout_seconds: float) -> bool:
        """Send one packet; return False when the other end is closed."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                self._link.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                return True
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0:
                    return True
                poller = select.poll()
                poller.register(self._link, select.POLLOUT)
                poller.poll(left * 1000)
            except OSError:
                return False

    def _take_in(self) -> None:
        try:
            packet = self._link.recv(wire.MAXIMUM_BYTES)
        except ConnectionResetError:
            packet = b""
        if not packet:
            self.is_over = True
            return
        message = wire.unpack(packet)
        if "event" in message:
            self._events.append(message)
        elif message["id"] in self._waiting:
            self._replies[message["id"]] = message

    def _drop(self) -> None:
        self._errors.close()
        for pidfd in (self._guard_pidfd, self._supervisor_pidfd):
            if pidfd >= 0:
                os.close(pidfd)
        self._guard_pidfd = self._supervisor_pidfd = -1

    def _last_words(self) -> str:
        """Return the end of what guard and supervisor wrote to their standard error."""
        try:
            size = os.fstat(self._errors.fileno()).st_size
            text = os.pread(self._errors.fileno(), 2000, max(0, size - 2000))
        except (OSError, ValueError):
            return ""
        return f":\n{text.decode(errors='replace').rstrip()}" if text else ""


def _owner_pidfd(pid: int) -> int:
    try:
        return linux.pidfd_open(pid)
    except ProcessLookupError as error:
        raise ProcessError(f"owner PID {pid} is gone already") from error
    except OSError as error:
        raise ProcessError(
            f"cannot watch owner PID {pid}: {error} (pidfd_open needs Linux 5.3 or newer, and a"
            " container must not forbid it)"
        ) from error


def _scratch(name: str) -> BinaryIO:
    """Return an anonymous file, in memory where the C library can."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create(name), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold back what would interrupt between the start of a child and our knowing of it.

    Python runs signal handlers in the main thread only; a mask would not stop them, because
    another thread may take the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number in ours:
            signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        for missed in came:
            signal.raise_signal(missed)
