"""The start of a guard: what it is handed, and how nothing can interrupt in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from wattest.errors import ProcessError
from wattest.process.owner import ROLE_VARIABLE, marks
from wattest.process.supervisor import kernel, wire

_PROGRAM = Path(__file__).absolute().parent / "supervisor" / "__main__.py"
_FIRST_OF_OURS = 3


def start_guard(
    spec: Mapping[str, Any], owners: Sequence[int], tree: str, errors: BinaryIO
) -> subprocess.Popen[bytes]:
    """Start a guard, with the mark of a tree, that reads `spec` and watches us and `owners`.

    Raises:
        ProcessError: an owner is gone already.
        OSError: a process cannot be started.
    """
    if not sys.executable:
        raise ProcessError("sys.executable is empty: no Python to run the supervisor with")
    environment = {**os.environ, **marks(tree), ROLE_VARIABLE: "guard"}
    flags = ["-I", "-S", *(["-B"] if sys.dont_write_bytecode else [])]
    with ExitStack() as stack:
        pidfds = []
        for pid in dict.fromkeys((os.getpid(), *owners)):
            pidfds.append(_owner_pidfd(pid))
            stack.callback(os.close, pidfds[-1])
        file = stack.enter_context(scratch_file("wattest-spec"))
        file.write(wire.pack({**spec, "owners": pidfds}))
        handed = [spec["control"], spec["news"], spec["output"], file.fileno(), *pidfds]
        return subprocess.Popen(
            [sys.executable, *flags, str(_PROGRAM), str(file.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment,
            pass_fds=[descriptor for descriptor in handed if descriptor >= 0],
            start_new_session=True,
        )


def fill_standard_streams() -> None:
    """Open the null device in the place of standard streams that are closed.

    A descriptor of ours with such a number would reach no child: each has its own streams there.
    """
    # Where that fails, so will what comes next, and say so.
    with suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) < _FIRST_OF_OURS:
            pass
        os.close(descriptor)


def open_log(log: Path, owner: tuple[int, int] | None) -> int:
    """Return a descriptor that appends to a log, which is emptied and belongs to `owner`, if any.

    Raises:
        ProcessError: it cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fill_standard_streams()
        descriptor = os.open(log, flags, 0o666)
    except OSError as error:
        raise ProcessError(f"cannot write the log {str(log)!r}: {error.strerror}") from error
    if owner is not None:
        # Not every file system knows owners.
        with suppress(OSError):
            os.fchown(descriptor, *owner)
    return descriptor


def scratch_file(name: str) -> BinaryIO:
    """Return an anonymous file, in memory where the C library can."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create(name), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


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


def _owner_pidfd(pid: int) -> int:
    try:
        return kernel.pidfd_open(pid)
    except ProcessLookupError as error:
        raise ProcessError(f"owner PID {pid} is gone already") from error
    except OSError as error:
        raise ProcessError(
            f"cannot watch owner PID {pid}: {error} (pidfd_open needs Linux 5.3 or newer, and a"
            " container must not forbid it)"
        ) from error
