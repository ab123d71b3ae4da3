"""The machine itself, as far as energy does not tell: what it is, how fast it may run, who has it.

`facts` are what a reader of the numbers will ask for. `set_governor` sets the CPU frequency
governor for a session; `take` leases counters, so that no two sessions measure with one at once. A
`Seat` is what one of several workers has for itself; a `Journal` tells who shared the CPU.
"""

from wattest.machine import facts
from wattest.machine.counters import Leasable, counters_of
from wattest.machine.governor import GovernorState, set_governor
from wattest.machine.journal import Journal, Neighbour, Span
from wattest.machine.lease import Claim, take
from wattest.machine.seats import Seat

__all__ = [
    "Claim", "GovernorState", "Journal", "Leasable", "Neighbour", "Seat", "Span", "counters_of",
    "facts", "set_governor", "take",
]  # fmt: skip
