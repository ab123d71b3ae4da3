"""Keeping a promise to restore: when every owner's word has ended, write back what was there."""

from __future__ import annotations

import os

from . import kernel
from .wire import End, Message


def keep(spec: Message, guard_pidfd: int) -> None:
    """Keep the promise of `spec`; should this process be killed, its guard does."""
    kernel.set_name("wattest-keeper")
    control, owners = End(spec["control"]), set(spec["owners"])
    watched = owners | {guard_pidfd, control.descriptor}
    End(spec["news"]).event("ready", pid=os.getpid())
    while True:
        ready = kernel.wait(watched)
        if ready & owners:
            undo(spec["undo"])
            return
        watched -= ready & {guard_pidfd}
        request = control.receive()
        if request is not None and request["do"] in ("undo", "end"):
            control.reply(request, faults=undo(spec["undo"]) if request["do"] == "undo" else [])
            return
        if request is not None:
            control.reply(request, unknown=True)
        if control.is_over:
            # Let go without a word: the promise stands until the owners are gone.
            watched -= {control.descriptor}


def undo(values: list[tuple[str, str]]) -> list[str]:
    """Write every value to its path, in order; return what went wrong, in words."""
    faults = []
    for path, value in values:
        try:
            kernel.write(path, value)
        except OSError as error:
            # What could not be changed either needs no restoring.
            if not _holds(path, value):
                faults.append(f"{path}: cannot restore {value!r}: {error.strerror}")
    return faults


def _holds(path: str, value: str) -> bool:
    try:
        return (kernel.read(path) or b"").strip() == value.strip().encode()
    except OSError:
        return False
