"""One execution of the training."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .launch import Refusal, Spawned


class Run:
    """A run of the order, from fork to reaping.

    `started_ns` and `ended_ns` are CLOCK_MONOTONIC, 0 before they are known; `status` is that of
    wait(2), and `refusal` tells why exec failed, if it did.
    """

    def __init__(self, number: int, spawned: Spawned) -> None:
        self.number = number
        self.pid = spawned.pid
        self.spawned = spawned
        self.started_ns = 0
        self.ended_ns = 0
        self.status = 0
        self.refusal: Refusal | None = None

    @property
    def is_settled(self) -> bool:
        """Whether exec has succeeded or failed."""
        return self.spawned.news < 0
