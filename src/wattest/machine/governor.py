"""The CPU frequency governor: set for the session, restored after it, whatever ends it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wattest.errors import ConfigurationError
from wattest.files import read_text
from wattest.process import Keeper


@dataclass(frozen=True)
class GovernorState:
    """What became of the governor that was asked for.

    `status` is ``not asked``, ``set``, ``unavailable`` (no such control here) or ``denied``.
    """

    requested: str | None
    status: str
    before: str | None = None
    reason: str | None = None


class Governor:
    """Sets the governor of all CPUs; a supervisor restores it should this process be killed."""

    def __init__(self, requested: str | None, sys_root: Path = Path("/sys")) -> None:
        """Set the governor `requested`; None leaves it alone.

        Raises:
            ConfigurationError: the kernel does not offer that governor.
        """
        self._keeper: Keeper | None = None
        pattern = "devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"
        self._files = sorted(sys_root.glob(pattern)) if requested else []
        before = {file: read_text(file) for file in self._files}
        first = next(iter(before.values()), None)
        if requested is None:
            self.state = GovernorState(None, "not asked")
        elif not self._files:
            reason = "this machine offers no control of the CPU frequency"
            self.state = GovernorState(requested, "unavailable", reason=reason)
        else:
            self._require_offer(requested)
            self.state = self._set(requested, before, first)

    def close(self) -> None:
        """Restore what was found."""
        if self._keeper is not None:
            self._keeper.undo_now()
            self._keeper = None

    def _require_offer(self, requested: str) -> None:
        offered = read_text(self._files[0].with_name("scaling_available_governors"))
        if offered is not None and requested not in offered.split():
            raise ConfigurationError(
                [f"governor {requested!r} is not offered by this machine; it offers: {offered}"]
            )

    def _set(
        self, requested: str, before: dict[Path, str | None], first: str | None
    ) -> GovernorState:
        undo = [(file, text) for file, text in before.items() if text is not None]
        keeper = Keeper(undo)
        try:
            for file in self._files:
                file.write_text(requested, encoding="ascii")
        except OSError as error:
            keeper.undo_now()
            reason = f"{error.filename}: {error.strerror}; run with sudo to set the governor"
            return GovernorState(requested, "denied", first, reason)
        self._keeper = keeper
        return GovernorState(requested, "set", first)
