"""Keeping a promise to restore: when every owner's word has ended, write back what was there."""

from __future__ import annotations

import os

from . import kernel
from .wire import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import Message


def keep(spec: Message, guard_pidfd: int) -> None:
    """Keep the promise of `spec`; should this process be killed, its guard does."""
    kernel.set_name("wattest-keeper")
    link = Link(spec["control"], spec["news"])
    owners = set(spec["owners"])
    watched = owners | {guard_pidfd, link.control}
    link.event("ready", pid=os.getpid())
    while True:
        ready = kernel.wait(watched)
        if ready & owners:
            undo(spec["undo"])
            return
        watched -= ready & {guard_pidfd}
        request = link.receive()
        if request is not None:
            link.reply(request, faults=undo(spec["undo"]) if request["do"] == "undo" else [])
            return
        if link.closed:
            # Let go without a word: the promise stands until the owners are gone.
            watched -= {link.control}


def undo(values: list[tuple[str, str]]) -> list[str]:
    """Write every value to its path, in order; return what went wrong, in words."""
    faults = []
    for path, value in values:
        try:
            kernel.write(path, value)
        except OSError as error:
            faults.append(f"{path}: cannot restore {value!r}: {error.strerror}")
    return faults
