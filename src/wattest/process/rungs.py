"""What this machine grants to hold process trees together: tried, not guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from wattest.errors import ProcessError
from wattest.process.cgroup import new_leaf
from wattest.process.handle import Handle
from wattest.process.reports import Rung


@dataclass(frozen=True)
class Mechanisms:
    """The rungs that work here, and why the others do not.

    `default` is the cgroup leaf where there is one, else the guard. `kernel_lists_children` tells
    whether the kernel lists a process's children (CONFIG_PROC_CHILDREN), or /proc is scanned.
    """

    available: tuple[Rung, ...]
    unavailable: Mapping[Rung, str]
    default: Rung
    kernel_lists_children: bool

    def is_available(self, rung: Rung) -> bool:
        """Return whether a rung works here."""
        return rung in self.available

    def reason_against(self, rung: Rung) -> str | None:
        """Return why a rung does not work here, None if it does."""
        return self.unavailable.get(rung)


@cache
def probe() -> Mechanisms:
    """Try every rung once with a child that ends at once; takes some 30 ms, the first time.

    Raises:
        ProcessError: not even a guard can be started; the message says why.
    """
    unavailable: dict[Rung, str] = {}
    leaf = None
    try:
        leaf = new_leaf()
    except ProcessError as error:
        unavailable[Rung.CGROUP] = str(error)
    handle = Handle({"mission": "trial", "leaf": leaf, "output": -1}, ())
    tried = handle.hello
    handle.close()
    if tried["cgroup"] is not None:
        unavailable[Rung.CGROUP] = f"no cgroup of our own: {tried['cgroup']}"
    if tried["pid_namespace"] is not None:
        unavailable[Rung.PID_NAMESPACE] = (
            f"no PID namespace of our own (it needs CAP_SYS_ADMIN): {tried['pid_namespace']}"
        )
    available = tuple(rung for rung in Rung if rung not in unavailable)
    default = Rung.CGROUP if Rung.CGROUP in available else Rung.GUARD
    return Mechanisms(available, unavailable, default, tried["kernel_lists"])
