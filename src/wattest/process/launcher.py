"""The start of a guard: what it is handed, and how nothing can interrupt in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from wattest.errors import ProcessError
from wattest.process.mark import OWNER_VARIABLE, ROLE_VARIABLE, TREE_VARIABLE, Owner
from wattest.process.supervisor import linux, wire

_PROGRAM = Path(__file__).absolute().parent / "supervisor" / "__main__.py"


class GuardProcess:
    """A guard, child of this process, with a pidfd that tells its end at once.

    Attributes:
        process: the guard.
        pidfd: readable when the guard has ended.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        ends: Sequence[int],
        owners: Sequence[int],
        tree: str,
        errors: BinaryIO,
    ) -> None:
        """Start a guard that watches this process and `owners`.

        `ends` are its ends of the sockets for control and for news.

        Raises:
            ProcessError: an owner is gone already, or a process cannot be started.
        """
        if not sys.executable:
            raise ProcessError("sys.executable is empty: no Python to run the supervisor with")
        with ExitStack() as stack:
            pidfds = []
            for pid in dict.fromkeys((os.getpid(), *owners)):
                pidfds.append(_owner_pidfd(pid))
                stack.callback(os.close, pidfds[-1])
            spec_file = stack.enter_context(scratch_file("wattest-spec"))
            control, news = ends
            full = {**spec, "control": control, "news": news, "owners": pidfds}
            spec_file.write(wire.pack(full))
            passed = [*ends, spec_file.fileno(), *pidfds]
            if spec["output"] >= 0:
                passed.append(spec["output"])
            flags = ["-I", "-S", *(["-B"] if sys.dont_write_bytecode else [])]
            self.process = subprocess.Popen(
                [sys.executable, *flags, str(_PROGRAM), str(spec_file.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=_environment(tree),
                pass_fds=passed,
                start_new_session=True,
            )
            self.pidfd = linux.pidfd_open(self.process.pid)


def scratch_file(name: str) -> BinaryIO:
    """Return an anonymous file, in memory where the C library can."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create(name), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _environment(tree: str) -> dict[str, str]:
    marks = {OWNER_VARIABLE: str(Owner.current()), ROLE_VARIABLE: "guard", TREE_VARIABLE: tree}
    return {**os.environ, **marks}


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


@contextmanager
def interrupts_held() -> Iterator[None]:
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
