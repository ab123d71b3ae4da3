"""The CPU frequency governor: set for the session, restored after it, whatever ends it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from wattest.errors import ConfigurationError
from wattest.files import read_text
from wattest.process import Keeper

_FILES = "devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"


@dataclass(frozen=True)
class GovernorState:
    """What became of the governor that was asked for.

    `status` is ``not asked``, ``set``, ``unavailable`` (no such control here) or ``denied``.
    """

    requested: str | None
    status: str
    before: str | None = None
    reason: str | None = None


def set_governor(requested: str | None, sys_root: Path, closing: ExitStack) -> GovernorState:
    """Set the governor of all CPUs; None leaves it alone.

    `closing` restores what was found; so does a supervisor, should this process be killed.

    Raises:
        ConfigurationError: the kernel does not offer that governor.
    """
    if requested is None:
        return GovernorState(None, "not asked")
    files = sorted(sys_root.glob(_FILES))
    if not files:
        reason = "this machine offers no control of the CPU frequency"
        return GovernorState(requested, "unavailable", reason=reason)
    offered = read_text(files[0].with_name("scaling_available_governors"))
    if offered is not None and requested not in offered.split():
        raise ConfigurationError(
            [f"governor {requested!r} is not offered by this machine; it offers: {offered}"]
        )
    before = [(file, read_text(file)) for file in files]
    keeper = Keeper([(file, text) for file, text in before if text is not None])
    try:
        for file in files:
            file.write_text(requested, encoding="ascii")
    except OSError as error:
        keeper.undo_now()
        reason = f"{error.filename}: {error.strerror}; run with sudo to set the governor"
        return GovernorState(requested, "denied", before[0][1], reason)
    closing.callback(keeper.undo_now)
    return GovernorState(requested, "set", before[0][1])
