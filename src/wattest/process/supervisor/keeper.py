"""Keeping a promise to restore: when every owner's word has ended, write back what was there."""

from __future__ import annotations

import os
import select
import signal
import time

from . import linux
from .enclosure import is_over
from .wire import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import Message

_PATIENCE_SECONDS = 2.0


def guard_keeper(spec: Message) -> None:
    """Run a keeper below this process; if it is killed, keep its promise in its place."""
    guard_pidfd = linux.pidfd_open(os.getpid())
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    keeper = os.fork()
    if keeper == 0:
        code = 1
        try:
            os.setsid()
            linux.set_name("wattest-keeper")
            _keep(spec, guard_pidfd)
            code = 0
        finally:
            os._exit(code)
    os.close(spec["control"])
    os.close(spec["news"])
    keeper_pidfd = linux.pidfd_open(keeper)
    _wait({keeper_pidfd, *spec["owners"]})
    if not is_over(keeper_pidfd):
        # An owner is gone, and the keeper has seen it too.
        _reap_within(keeper, _PATIENCE_SECONDS)
        undo(spec["undo"])
    elif os.waitpid(keeper, 0)[1] != 0:
        _wait(set(spec["owners"]))
        undo(spec["undo"])


def _keep(spec: Message, guard_pidfd: int) -> None:
    link = Link(spec["control"], spec["news"])
    owners = set(spec["owners"])
    watched = owners | {guard_pidfd, link.control}
    link.event("ready", pid=os.getpid())
    while True:
        ready = _wait(watched)
        if ready & owners:
            undo(spec["undo"])
            return
        watched -= ready & {guard_pidfd}
        if link.control not in ready:
            continue
        request = link.receive()
        if request is not None:
            faults = undo(spec["undo"]) if request["do"] == "undo" else []
            link.reply(request, faults=faults)
            return
        if link.closed:
            # Let go without a word: the promise stands until the owners are gone.
            watched -= {link.control}


def undo(values: list[tuple[str, str]]) -> list[str]:
    """Write every value to its path, in order; return what went wrong, in words."""
    faults = []
    for path, value in values:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
            try:
                os.write(descriptor, value.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            faults.append(f"{path}: cannot restore {value!r}: {error.strerror}")
    return faults


def _wait(descriptors: set[int]) -> set[int]:
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poller.poll()}


def _reap_within(pid: int, seconds: float) -> None:
    """Wait for a child to end; kill it when it does not."""
    deadline = time.monotonic() + seconds
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        left = deadline - time.monotonic()
        if left <= 0:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        signal.sigtimedwait([signal.SIGCHLD], left)
