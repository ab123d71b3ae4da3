"""How a tree ends: SIGTERM and a grace period, then SIGKILL until nothing is left."""

from __future__ import annotations

import signal

from .family import MILLISECOND_NS, Clearance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .family import Family
    from .supervisor import Supervisor
    from .wire import Message

_FINE_LOOK_NS = 10 * MILLISECOND_NS
_COARSE_LOOK_NS = 100 * MILLISECOND_NS
_FINE_LOOKS_NS = 500 * MILLISECOND_NS
FOREVER_NS = 1 << 62


class Ending:
    """One stop, advanced by the supervisor's loop; every deadline is absolute and monotonic."""

    def __init__(self, supervisor: Supervisor, grace_ns: int, kill_ns: int, now_ns: int) -> None:
        self._supervisor = supervisor
        self._began_ns = now_ns
        self._term_until_ns = now_ns + grace_ns
        self._kill_until_ns = self._term_until_ns + kill_ns
        self._was_running = supervisor.is_running
        self._told: set[int] = set()
        self._clearance: Clearance | None = None
        self._main_was_over = True
        self.requests: list[Message] = []

    def hasten(self, grace_ns: int, kill_ns: int, now_ns: int) -> None:
        """Shorten the deadlines, never lengthen them."""
        self._term_until_ns = min(self._term_until_ns, now_ns + grace_ns)
        self._kill_until_ns = min(self._kill_until_ns, now_ns + grace_ns + kill_ns)

    def advance(self, now_ns: int) -> int | None:
        """Do what is due; return when to come again (or when a child dies), None when over."""
        if self._supervisor.gone():
            return None
        family = self._supervisor.family
        if now_ns < self._term_until_ns:
            self._tell(family)
            age_ns = now_ns - self._began_ns
            look_ns = _FINE_LOOK_NS if age_ns < _FINE_LOOKS_NS else _COARSE_LOOK_NS
            return min(self._term_until_ns, now_ns + look_ns)
        if now_ns >= self._kill_until_ns:
            return None
        if self._clearance is None:
            self._clearance = Clearance(family, self._supervisor.enclosure)
            self._main_was_over = self._supervisor.main_is_over()
        return min(self._kill_until_ns, now_ns + self._clearance.advance())

    def tell_again(self) -> None:
        """Forget who was told: a SIGTERM before exec may have been ignored."""
        self._told.clear()

    def leftovers_killed(self) -> int:
        """Return how many processes were killed that had outlived the main process."""
        if self._clearance is None or not self._main_was_over:
            return 0
        return len(self._clearance.killed)

    def report(self, now_ns: int) -> Message:
        """Return the fields of the reply."""
        killed = set() if self._clearance is None else self._clearance.killed
        family = self._supervisor.family
        return {
            "was_running": self._was_running,
            "sigkill_needed": self._was_running and self._clearance is not None,
            "signalled": len(self._told | killed) if self._was_running else 0,
            "survivors": [] if family.childless else family.survivors(),
            "duration_ns": now_ns - self._began_ns,
        }

    def _tell(self, family: Family) -> None:
        """SIGTERM everybody once; later only those whose parent is gone.

        A polite program may start helpers to end well; they are left in peace.
        """
        everybody = {pid for pid, _ in family.members()}
        fresh = (family.orphans() if self._told else everybody) - self._told
        if fresh:
            reached = family.signal(signal.SIGTERM, fresh)
            # A stopped process takes SIGTERM only when it is continued.
            family.signal(signal.SIGCONT, reached)
            self._told |= reached
