"""Process trees that cannot outlive us.

A `Tree` runs one training, a `Loop` a background load, a `Keeper` a promise to restore. Each has
a guard and a supervisor of its own, which kill the whole tree when they are told to, or when one
of its owners is gone in whatever way. `probe` tells what holds trees together here, `sweep`
clears up after sessions that were killed with their guards and supervisors.
"""

from wattest.process.access import first_refused
from wattest.process.keeper import Keeper
from wattest.process.reports import Command, Exit, LoopStatus, Rung, StopReport, Survivor
from wattest.process.rungs import Mechanisms, probe
from wattest.process.supervisor.endings import ending, how_it_ended, likely_cause
from wattest.process.sweep import Swept, sweep
from wattest.process.tree import Loop, Tree

__all__ = [
    "Command",
    "Exit",
    "Keeper",
    "Loop",
    "LoopStatus",
    "Mechanisms",
    "Rung",
    "StopReport",
    "Survivor",
    "Swept",
    "Tree",
    "ending",
    "first_refused",
    "how_it_ended",
    "likely_cause",
    "probe",
    "sweep",
]
