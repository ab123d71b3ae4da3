"""The guard: starts the supervisor, and ends what it leaves if it dies before its work is done."""

from __future__ import annotations

import os
import select
import signal
import sys

from . import linux, proc, signals, trial
from .enclosure import enclosure_for
from .endless import Endless
from .family import MILLISECOND_NS, Clearance, Family
from .keeper import guard_keeper
from .launch import Order
from .logs import RunLogs
from .oneshot import OneShot
from .supervisor import Supervisor
from .wire import Link, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .mission import Mission
    from .wire import Message


def main(spec_descriptor: int) -> None:
    """Read the spec that the handle left behind `spec_descriptor`, and do what it says."""
    spec = _read_spec(spec_descriptor)
    signals.shield()
    os.chdir("/")
    for descriptor in (spec["control"], spec["news"], spec["output"], *spec["owners"]):
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)
    linux.set_name("wattest-guard")
    linux.adopt_orphans()
    if spec["mission"] == "trial":
        trial.answer(Link(spec["control"], spec["news"]), spec["leaf"])
    elif spec["mission"] == "keeper":
        guard_keeper(spec)
    else:
        # Nothing is left to be tidied up, and the owner waits for our end.
        os._exit(_guard(spec))


def _guard(spec: Message) -> int:
    guard_pidfd = linux.pidfd_open(os.getpid())
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    supervisor = os.fork()
    if supervisor == 0:
        code = 1
        try:
            _supervise(spec, guard_pidfd)
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
            raise
        finally:
            os._exit(code)
    os.close(spec["control"])
    os.close(spec["news"])
    if spec["output"] >= 0:
        os.close(spec["output"])
    wait_for_any([linux.pidfd_open(supervisor), *spec["owners"]])
    return _clear_up(spec, supervisor)


def _supervise(spec: Message, guard_pidfd: int) -> None:
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    linux.set_name("wattest-superv")
    linux.adopt_orphans()
    enclosure = enclosure_for(spec["rung"], spec["leaf"])
    supervisor = Supervisor(
        Link(spec["control"], spec["news"]), spec["owners"], guard_pidfd, enclosure
    )
    order = Order(spec["order"])
    mission: Mission
    if spec["mission"] == "loop":
        settings = spec["loop"]
        owner = settings["log_owner"]
        caps = settings["log_cap_bytes"], settings["logs_cap_bytes"]
        logs = RunLogs(settings["log_folder"], *caps, owner)
        mission = Endless(supervisor, order, logs, settings)
    else:
        mission = OneShot(supervisor, order, spec["output"], spec["linger_ns"])
    supervisor.serve(mission)


def _clear_up(spec: Message, supervisor: int) -> int:
    """Kill until ECHILD: the supervisor too, if it still lives, because an owner is gone."""
    enclosure = enclosure_for("cgroup" if spec["rung"] == "cgroup" else "guard", spec["leaf"])
    family = Family(proc.Lister())
    clearance = Clearance(family, enclosure)
    codes: dict[int, int] = {}
    while True:
        family.reap(codes.__setitem__)
        if family.childless:
            break
        try:
            pause_ns = clearance.advance()
        except OSError:
            # Out of descriptors or memory, perhaps by what we are about to kill: go on.
            pause_ns = MILLISECOND_NS
        signal.sigtimedwait([signal.SIGCHLD], pause_ns / 1e9)
    enclosure.remove()
    return 0 if codes.get(supervisor) == 0 else 1


def wait_for_any(descriptors: list[int]) -> None:
    """Wait until one of the descriptors is readable."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    poller.poll()


def _read_spec(descriptor: int) -> Message:
    os.lseek(descriptor, 0, os.SEEK_SET)
    parts = []
    while part := os.read(descriptor, 1 << 20):
        parts.append(part)
    os.close(descriptor)
    return unpack(b"".join(parts))
