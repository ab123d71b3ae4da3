"""The guard: starts the supervisor, and ends what it leaves if it dies before its work is done."""

from __future__ import annotations

import os
import signal

from . import kernel
from .containment import containment_of
from .descendants import Descendants, KillRounds
from .endings import in_words
from .jobs import JOBS
from .keeper import keep, undo
from .wire import Message, unpack


def main(spec_descriptor: int) -> None:
    """Read the spec that the client left behind `spec_descriptor`, and do what it says."""
    with open(spec_descriptor, "rb") as file:
        file.seek(0)
        spec = unpack(file.read())
    kernel.shield()
    os.chdir("/")
    for descriptor in (spec["control"], spec["news"], spec["output"], *spec["owners"]):
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)
    kernel.set_name("wattest-guard")
    kernel.adopt_orphans()
    # Nothing is left to be tidied up then, and the owner waits for our end.
    code = 1
    try:
        code = _guard(spec)
    except OSError as error:
        os.write(2, in_words(error).encode())
    os._exit(code)


def _guard(spec: Message) -> int:
    guard_pidfd = kernel.pidfd_open(os.getpid())
    supervisor = kernel.fork(lambda: _supervise(spec, guard_pidfd))
    kernel.close(spec["control"], spec["news"], spec["output"])
    kernel.wait([kernel.pidfd_open(supervisor), *spec["owners"]])
    code = _clear_up(spec, supervisor)
    if spec["job"] == "keeper" and code != 0:
        kernel.wait(spec["owners"])
        undo(spec["undo"])
    return code


def _supervise(spec: Message, guard_pidfd: int) -> None:
    os.setsid()
    if spec["job"] == "keeper":
        keep(spec, guard_pidfd)
        return
    kernel.set_name("wattest-superv")
    kernel.adopt_orphans()
    JOBS[spec["job"]](spec, guard_pidfd).serve()


def _clear_up(spec: Message, supervisor: int) -> int:
    """Kill until ECHILD: the supervisor too, if it still lives, because an owner is gone."""
    # The init of a PID namespace dies with the supervisor; all the rest is descendants.
    rung = "cgroup" if spec["rung"] == "cgroup" else "guard"
    descendants = Descendants(containment_of(rung, spec["leaf"]))
    rounds = KillRounds(descendants)
    codes: dict[int, int] = {}
    while True:
        descendants.reap(codes.__setitem__)
        if descendants.childless:
            break
        try:
            pause_ns = rounds.advance()
        except OSError:
            # Out of descriptors or memory, perhaps by what we are about to kill: go on.
            pause_ns = kernel.MILLISECOND_NS
        signal.sigtimedwait([signal.SIGCHLD], pause_ns / 1e9)
    descendants.containment.remove()
    return 0 if codes.get(supervisor) == 0 else 1
