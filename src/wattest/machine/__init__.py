"""The machine itself, as far as energy does not tell: what it is, how fast it may run, who has it.

`facts` are what a reader of the numbers will ask for. `set_governor` sets the CPU frequency
governor for a session; `take` leases counters, so that no two sessions measure with one at once.
"""

from wattest.machine import facts
from wattest.machine.counters import Leasable, counters_of
from wattest.machine.governor import GovernorState, set_governor
from wattest.machine.lease import take

__all__ = ["GovernorState", "Leasable", "counters_of", "facts", "set_governor", "take"]
