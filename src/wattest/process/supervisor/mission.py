"""What a supervisor is for. It calls back; it never waits for a mission."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .launch import Refusal
    from .run import Run
    from .supervisor import Supervisor
    from .wire import Message


STOPPED = "it was stopped before"


class Mission:
    """A training that runs once, or again and again."""

    # How long the orphans of a run may take to end by themselves, in nanoseconds.
    linger_ns = 0

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def begin(self) -> None:
        """Get ready, and tell the owner with `say_ready`."""
        self.say_ready(None)

    def say_ready(self, refusal: Refusal | None) -> None:
        """Tell the owner that it may begin, or why it never may."""
        fields = None if refusal is None else refusal.fields()
        self._supervisor.link.event("ready", pid=os.getpid(), refusal=fields)

    def serve(self, request: Message) -> None:
        """Answer a request that is not the supervisor's own."""

    def heard(self, run: Run) -> None:
        """Learn that a run has said something before its exec."""

    def settled(self, run: Run) -> None:
        """Learn that exec succeeded, or why not (`run.refusal`)."""

    def ended(self, run: Run) -> None:
        """Learn that the main process of `run` was reaped."""

    def cleared(self, run: Run, leftovers: int) -> None:
        """Learn that nothing of `run` is left; `leftovers` processes had to be killed."""

    def stopping(self) -> None:
        """Learn that the owner wants the end."""

    def advance(self, now_ns: int) -> int | None:
        """Do what is due while the supervisor has nothing else to do; return when to come next."""
        return None


def exit_fields(status: int) -> Message:
    """Split a wait status into exit code and signal, one of them None."""
    if os.WIFSIGNALED(status):
        return {"exit_code": None, "signal": os.WTERMSIG(status)}
    return {"exit_code": os.WEXITSTATUS(status), "signal": None}
