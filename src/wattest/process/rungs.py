"""What this machine grants to hold process trees together: tried, not guessed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from wattest.errors import ProcessError
from wattest.process.cgroup import new_leaf
from wattest.process.client import Client
from wattest.process.order import order_for
from wattest.process.reports import Command, Rung

_WITHOUT = {
    Rung.CGROUP: "no cgroup of our own",
    Rung.PID_NAMESPACE: "no PID namespace of our own (it needs CAP_SYS_ADMIN)",
}


@dataclass(frozen=True)
class Mechanisms:
    """The rungs that work here, and why the others do not."""

    unavailable: Mapping[Rung, str]

    @property
    def default(self) -> Rung:
        """The cgroup leaf where there is one, else the guard.

        Slurm ends its cgroups without what is nested in them: there it is the guard.
        """
        is_nested = "SLURM_JOB_ID" in os.environ or not self.is_available(Rung.CGROUP)
        return Rung.GUARD if is_nested else Rung.CGROUP

    def is_available(self, rung: Rung) -> bool:
        """Return whether a rung works here."""
        return rung not in self.unavailable

    def reason_against(self, rung: Rung) -> str | None:
        """Return why a rung does not work here, None if it does."""
        return self.unavailable.get(rung)


@cache
def probe() -> Mechanisms:
    """Let every rung hold a process once, just before its exec; some 30 ms each, the first time.

    Raises:
        ProcessError: not even a guard can be started; the message says why.
    """
    unavailable: dict[Rung, str] = {}
    leaf = ""
    try:
        leaf = new_leaf()
    except (OSError, ProcessError) as error:
        unavailable[Rung.CGROUP] = str(error)
    for rung, without in _WITHOUT.items():
        if rung not in unavailable and (refusal := _refusal(rung, leaf)) is not None:
            unavailable[rung] = f"{without}: {refusal}"
    return Mechanisms(unavailable)


def _refusal(rung: Rung, leaf: str) -> str | None:
    """Return why the kernel does not let a rung hold a process, None if it does."""
    order = order_for(Command(("true",), Path("/"), {}), "")
    with Path(os.devnull).open("wb") as nowhere:
        spec = {"job": "one-shot", "order": order, "output": nowhere.fileno(), "linger_ns": 0}
        client = Client({**spec, "rung": rung.value, "leaf": leaf}, ())
    client.close()
    refusal = client.hello["refusal"]
    return None if refusal is None else str(refusal["text"])
