"""A session that is one of several workers' on this machine, and what their controller told it."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from datetime import datetime

from wattest.machine import GovernorState, Seat
from wattest.names import host_name, slug

_NUMBERS = itertools.count(1)


def new_session_id() -> str:
    """Return the id of a session that begins now in this process, which no other has."""
    host, number = slug(host_name()), next(_NUMBERS)
    began = f"{datetime.now():%Y%m%d_%H%M%S}_{host}_{os.getpid()}"
    return began if number == 1 else f"{began}_{number}"


@dataclass(frozen=True)
class Member:
    """One of several workers.

    Attributes:
        session_id: The id that all of them share.
        worker: How xdist calls this one, such as `gw0`; one that replaces another has a new name.
        workers: How many they are.
        seat: What of the machine is this one's alone.
        cpu_energy: What has become of ``--cpu-energy``.
        governor: What their controller has done about the CPU frequency governor.
    """

    session_id: str
    worker: str
    workers: int
    seat: Seat
    cpu_energy: str
    governor: GovernorState
