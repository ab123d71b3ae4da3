"""Trying what this machine grants: a child in a cgroup leaf, a child in a PID namespace."""

from __future__ import annotations

import os

from . import linux, proc
from .enclosure import Enclosure, Leaf, Namespace
from .family import Family

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .wire import Link


def answer(link: Link, leaf: str | None) -> None:
    """Tell the owner, per rung, why it is not to be had (None: it is)."""
    cgroup = None
    if leaf is not None:
        cgroup = _try(lambda: Leaf(leaf))
    namespace = _try(lambda: Namespace(linux.pidfd_open(os.getpid())))
    own = os.getpid()
    kernel_lists = proc.read(f"/proc/{own}/task/{own}/children") is not None
    link.event("tried", cgroup=cgroup, pid_namespace=namespace, kernel_lists=kernel_lists)


def _try(make: Callable[[], Enclosure]) -> str | None:
    family = Family(proc.Lister())
    enclosure: Enclosure | None = None
    try:
        enclosure = make()
        enclosure.prepare(family)
        return _enter_in_child(enclosure)
    except OSError as error:
        return str(error)
    finally:
        if enclosure is not None:
            enclosure.kill()
            while family.spared:
                pid, _ = os.waitpid(-1, linux.WAIT_ALL)
                enclosure.reaped(pid, family)
            enclosure.remove()


def _enter_in_child(enclosure: Enclosure) -> str | None:
    """Fork a child that enters and ends; return what hindered it."""
    hear, tell = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            enclosure.enter()
            os.write(tell, b"entered")
        except OSError as error:
            os.write(tell, str(error).encode(errors="replace"))
        finally:
            os._exit(0)
    os.close(tell)
    said = os.read(hear, 4096).decode(errors="replace")
    os.close(hear)
    os.waitpid(child, 0)
    return None if said == "entered" else said or "the child died"
