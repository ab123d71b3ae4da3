"""A session that is one of several workers' on this machine, and what their controller told it."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from wattest.machine import GovernorState, Seat
from wattest.names import host_name, slug

_NUMBERS = itertools.count(1)
_HOST_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO of the kernel's proc_ns.h


def new_session_id() -> str:
    """Return the id of a session that begins now in this process, which no other has."""
    host, number = slug(host_name()), next(_NUMBERS)
    began = f"{datetime.now():%Y%m%d_%H%M%S}_{host}_{os.getpid()}{_namespace()}"
    return began if number == 1 else f"{began}_{number}"


def _namespace() -> str:
    """Return what tells a PID from the same number in another PID namespace of the host."""
    try:
        inode = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return ""
    return "" if inode == _HOST_NAMESPACE else f"-{inode}"


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
