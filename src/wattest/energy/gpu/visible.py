"""Which GPUs `CUDA_VISIBLE_DEVICES` leaves visible, by the rules of CUDA.

The rules: the list ends at its first invalid entry; an entry that stands twice leaves no device at
all; an index is what `strtoul` makes of the entry; a UUID may be shortened as long as it is unique.
(CUDA C++ Programming Guide, "CUDA Environment Variables".)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_INDEX = re.compile(r"\s*([+-]?\d{1,4000})", re.ASCII)


@dataclass(frozen=True)
class Visible:
    """The visible GPUs, in the order of CUDA.

    Attributes:
        indices: Positions in the list of UUIDs that was given.
        by_index: Whether the user named them by number, so that the order of the driver matters.
        note: What is odd about the variable, in words; empty if nothing is.
        mig: Whether MIG instances were named; then `indices` is empty.
    """

    indices: tuple[int, ...]
    by_index: bool
    note: str = ""
    mig: bool = False


def visible_gpus(variable: str | None, uuids: Sequence[str]) -> Visible:
    """Resolve the value of `CUDA_VISIBLE_DEVICES` against the UUIDs of all GPUs.

    Args:
        variable: The value; None if it is not set, which leaves every GPU visible.
        uuids: UUIDs in the order of the driver, e.g. `GPU-2f7f…`.
    """
    if variable is None:
        return Visible(tuple(range(len(uuids))), by_index=False)
    entries = variable.split(",")
    first = entries[0].strip()
    if first.startswith("MIG"):
        return Visible((), by_index=False, note=f"{first} is a MIG instance", mig=True)
    by_index = not first.startswith("GPU-")
    found: list[int] = []
    note = ""
    for entry in entries:
        position = _by_index(entry, uuids) if by_index else _by_uuid(entry.strip(), uuids)
        if position is None:
            note = _ended_at(entry, variable)
            break
        if position in found:
            return Visible((), by_index, f"CUDA_VISIBLE_DEVICES={variable!r} names a GPU twice")
        found.append(position)
    return Visible(tuple(found), by_index, note)


def _by_index(entry: str, uuids: Sequence[str]) -> int | None:
    match = _INDEX.match(entry)
    position = int(match.group(1)) if match else -1
    return position if 0 <= position < len(uuids) else None


def _by_uuid(entry: str, uuids: Sequence[str]) -> int | None:
    if not entry.startswith("GPU-"):
        return None
    matches = [i for i, uuid in enumerate(uuids) if uuid.lower().startswith(entry.lower())]
    return matches[0] if len(matches) == 1 else None


def _ended_at(entry: str, variable: str) -> str:
    if not variable.strip() or entry.strip() == "-1":
        return ""
    return f"CUDA_VISIBLE_DEVICES={variable!r} ends at {entry.strip()!r}, which names no GPU"
