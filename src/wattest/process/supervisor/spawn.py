"""Fork and exec of one training: a clean process that holds nothing of the supervisor's."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress

from . import kernel
from .containment import Containment
from .wire import Message

_NOT_EXECUTED = 127
_UP = b"up\n"


class Run:
    """One execution of an order: a child between fork and exec, or after it.

    Attributes:
        pid: the main process.
        news: readable when there is something to `hear`, and -1 after the end of it.
        started_ns, ended_ns: exec and end, CLOCK_MONOTONIC; 0 before they are known.
        exit_code: negative for a signal; once it has ended.
        was_killed: whether SIGKILL was on its way to everybody before its end.
        refusal: why exec failed, if it did: the step, its errno, and the kernel's words in `text`.
    """

    def __init__(self, pid: int, news: int, gate: int) -> None:
        self.pid = pid
        self.news = news
        self.started_ns = self.ended_ns = self.exit_code = 0
        self.was_killed = False
        self.refusal: Message | None = None
        self._gate = gate
        self._said = b""

    @property
    def is_settled(self) -> bool:
        """Whether exec has succeeded or failed."""
        return self.news < 0

    @property
    def is_held(self) -> bool:
        """Whether the child was not yet let go to its exec."""
        return self._gate >= 0

    @property
    def is_up(self) -> bool:
        """Whether the child waits, with all behind it but the exec."""
        return self.is_held and not self.is_settled and self._said == _UP

    def release(self) -> None:
        """Let the child go to its exec; that it died meanwhile is heard as any death."""
        with suppress(BrokenPipeError):
            os.write(self._gate, b"!")
        os.close(self._gate)
        self._gate = -1

    def hear(self) -> None:
        """Take in what the child has to say; its exec, or its end, ends that."""
        if said := os.read(self.news, 4096):
            self._said += said
            return
        os.close(self.news)
        self.news = -1
        started, _, report = self._said.removeprefix(_UP).decode(errors="replace").partition("\n")
        if report:
            step, number, text = report.split("\n", 2)
            self.refusal = refusal(step, int(number), text)
        else:
            self.started_ns = int(started) if started else time.monotonic_ns()

    def lived_ns(self, now_ns: int) -> int:
        """Return for how long its program has run."""
        return (self.ended_ns or now_ns) - self.started_ns if self.started_ns else 0


def refusal(step: str, number: int, text: str) -> Message:
    """Return why a run was not started: the step that failed, its errno, and the words for it."""
    return {"step": step, "errno": number, "text": text}


def spawn(
    order: Message, output: int, containment: Containment, supervisor_pidfd: int, *, held: bool
) -> Run:
    """Fork, and exec the order (see `wattest.process.order`) with its output appended to `output`.

    A child that is `held` does all the rest first, and goes to its exec when it is released;
    without a supervisor it never is.

    Raises:
        OSError: the supervisor itself could not fork.
    """
    news, tell = os.pipe2(os.O_CLOEXEC)
    gate, release = os.pipe2(os.O_CLOEXEC) if held else (-1, -1)
    ours, theirs = (news, release), (tell, gate)
    try:
        pid = os.fork()
    except OSError:
        kernel.close(*ours, *theirs)
        raise
    if pid == 0:
        try:
            kernel.close(*ours)
            _become(order, output, containment, supervisor_pidfd, *theirs)
        finally:
            os._exit(_NOT_EXECUTED)
    kernel.close(*theirs)
    return Run(pid, news, release)


def _become(
    order: Message, output: int, containment: Containment, supervisor: int, tell: int, gate: int
) -> None:
    step = "session"
    try:
        kernel.unshield()
        os.setsid()
        step = "output"
        os.dup2(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if order["oom_score_adj"] is not None:
            # A courtesy, which a read-only /proc does not take.
            with suppress(OSError):
                kernel.write("/proc/self/oom_score_adj", str(order["oom_score_adj"]))
        step = "containment"
        containment.enter()
        step = "user"
        if order["user"] is not None:
            kernel.become(*order["user"])
        step = "tie"
        if not kernel.die_with_parent(supervisor):
            return
        if gate >= 0:
            os.write(tell, _UP)
            if not os.read(gate, 1):
                return
        step = "folder"
        os.chdir(order["cwd"])
        step = "program"
        # Told from here: on a busy machine the supervisor learns of the exec only later.
        os.write(tell, f"{time.monotonic_ns()}\n".encode())
        _execute(order["programs"], order["argv"], order["environment"])
    except Exception as error:
        # Silence would look like a successful exec.
        number = getattr(error, "errno", None) or 0
        before = "" if step == "program" else "\n"
        os.write(tell, f"{before}{step}\n{number}\n{error}".encode(errors="replace"))


def _execute(programs: list[bytes], argv: list[bytes], environment: dict[bytes, bytes]) -> None:
    """Execute the first of the programs that exists; there is one for each folder of PATH.

    (os.execvpe would import a module after the change of user, who may not read it.)
    """
    failure: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    for program in programs:
        try:
            os.execve(program, argv, environment)
        except PermissionError as error:
            failure = error
        except (FileNotFoundError, NotADirectoryError) as error:
            # Where one may not be executed, that says more than that the others are missing.
            if not isinstance(failure, PermissionError):
                failure = error
    raise failure
