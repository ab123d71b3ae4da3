"""Fork and exec of one training: a clean process that holds nothing of the supervisor's."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from . import linux
from .enclosure import is_over
from .signals import unshield

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .enclosure import Enclosure
    from .wire import Message

_NOT_EXECUTED = 127
_UP = b"up\n"


class Order:
    """What to run, as the handle sent it."""

    __slots__ = ("argv", "cwd", "environment", "groups", "oom_score_adj", "programs", "uid_gid")

    def __init__(self, message: Message) -> None:
        # os.execvpe would import a module after the change of user, who may not read it.
        self.programs: list[bytes] = message["programs"]
        self.argv: list[bytes] = message["argv"]
        self.cwd: bytes = message["cwd"]
        self.environment: dict[bytes, bytes] = message["environment"]
        self.uid_gid: tuple[int, int] | None = message["run_as"]
        self.groups: list[int] = message["groups"]
        self.oom_score_adj: int | None = message["oom_score_adj"]


class Refusal:
    """Why a run was not started: the step that failed, its errno, and the kernel's words."""

    __slots__ = ("errno", "step", "text")

    def __init__(self, step: str, number: int, text: str) -> None:
        self.step = step
        self.errno = number
        self.text = text

    def fields(self) -> Message:
        """Return the fields of a message."""
        return {"step": self.step, "errno": self.errno, "text": self.text}


class Spawned:
    """A child between fork and exec, or after it.

    `news` becomes readable when there is something to `hear`, and is -1 after the end of it. A
    child that waits does so when it `is_up`, with all behind it but the exec, until `release`.
    """

    __slots__ = ("_gate", "_said", "news", "pid")

    def __init__(self, pid: int, news: int, gate: int) -> None:
        self.pid = pid
        self.news = news
        self._gate = gate
        self._said = b""

    @property
    def is_up(self) -> bool:
        """Whether the child has told that it waits."""
        return self._said.startswith(_UP)

    @property
    def is_waiting(self) -> bool:
        """Whether the child was not released."""
        return self._gate >= 0

    def release(self) -> None:
        """Let a waiting child go to its exec; that it died meanwhile is heard as any death."""
        with suppress(BrokenPipeError):
            os.write(self._gate, b"!")
        os.close(self._gate)
        self._gate = -1

    def hear(self) -> None:
        """Take in what the child has to say; its exec, or its end, ends that."""
        said = os.read(self.news, 4096)
        self._said += said
        if not said:
            os.close(self.news)
            self.news = -1

    def outcome(self) -> tuple[int, Refusal | None]:
        """Return when it went to exec (CLOCK_MONOTONIC, in ns), and why that failed, if it did."""
        said = self._said.removeprefix(_UP).decode(errors="replace")
        started, _, report = said.partition("\n")
        started_ns = int(started) if started else time.monotonic_ns()
        if not report:
            return started_ns, None
        step, number, text = report.split("\n", 2)
        return started_ns, Refusal(step, int(number), text)


def spawn(
    order: Order, output: int, enclosure: Enclosure, supervisor_pidfd: int, *, waits: bool
) -> Spawned:
    """Fork, and exec the order with its output appended to descriptor `output`.

    A child that `waits` does all the rest first, and goes to its exec when it is released.

    Raises:
        OSError: the supervisor itself could not fork.
    """
    news, tell = os.pipe2(os.O_CLOEXEC)
    gate, release = os.pipe2(os.O_CLOEXEC) if waits else (-1, -1)
    ours, theirs = (news, release), (tell, gate)
    try:
        pid = os.fork()
    except OSError:
        _close(*ours, *theirs)
        raise
    if pid == 0:
        try:
            _close(*ours)
            _become(order, output, enclosure, supervisor_pidfd, tell, gate)
        finally:
            os._exit(_NOT_EXECUTED)
    _close(*theirs)
    return Spawned(pid, news, release)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)


def _become(
    order: Order,
    output: int,
    enclosure: Enclosure,
    supervisor_pidfd: int,
    tell: int,
    gate: int,
) -> None:
    step = "signals"
    try:
        unshield()
        step = "session"
        os.setsid()
        step = "output"
        _redirect(output)
        step = "out-of-memory score"
        if order.oom_score_adj is not None:
            _write("/proc/self/oom_score_adj", str(order.oom_score_adj))
        step = "enclosure"
        enclosure.enter()
        step = "user"
        if order.uid_gid is not None:
            _change_user(order.uid_gid, order.groups)
        step = "tie"
        linux.die_with_parent()
        if is_over(supervisor_pidfd):
            return
        if gate >= 0 and not _await_release(tell, gate):
            return
        step = "folder"
        os.chdir(order.cwd)
        step = "program"
        # Told from here: on a busy machine the supervisor learns of the exec only later.
        os.write(tell, f"{time.monotonic_ns()}\n".encode())
        _execute(order)
    except Exception as error:
        # Silence would look like a successful exec.
        number = error.errno if isinstance(error, OSError) else 0
        before = "" if step == "program" else "\n"
        os.write(tell, f"{before}{step}\n{number or 0}\n{error}".encode(errors="replace"))


def _await_release(tell: int, gate: int) -> bool:
    """Return whether the word came; without a supervisor it never will."""
    os.write(tell, _UP)
    return bool(os.read(gate, 1))


def _execute(order: Order) -> None:
    """Execute the first of the programs that exists; the others are further folders of PATH."""
    denied: OSError | None = None
    for program in order.programs[:-1]:
        try:
            os.execve(program, order.argv, order.environment)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            denied = denied or error
    try:
        os.execve(order.programs[-1], order.argv, order.environment)
    except (FileNotFoundError, NotADirectoryError):
        if denied is None:
            raise
        raise denied from None


def _redirect(output: int) -> None:
    nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _change_user(uid_gid: tuple[int, int], groups: list[int]) -> None:
    uid, gid = uid_gid
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    os.write(descriptor, text.encode())
    os.close(descriptor)
