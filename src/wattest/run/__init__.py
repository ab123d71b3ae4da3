"""One experiment: a foreground training under the meter, over a background load, and its verdict.

`BackgroundLoad` starts the load, proves it alive and stops it; `Foreground` trains until an attempt
counts or its retries are used up; a `Launcher` starts both. What they come to is an `Outcome`,
which knows nothing of records.
"""

from wattest.run.activeload import ActiveLoad
from wattest.run.background import BackgroundLoad
from wattest.run.command import Launcher
from wattest.run.foreground import Foreground
from wattest.run.outcome import Attempt, CoolDown, ExperimentFiles, LoadAlone, Outcome

__all__ = [
    "ActiveLoad",
    "Attempt",
    "BackgroundLoad",
    "CoolDown",
    "ExperimentFiles",
    "Foreground",
    "Launcher",
    "LoadAlone",
    "Outcome",
]
