"""`wattest calibrate`: what this machine's counters say of loads that we know.

`calibrate` measures every pattern of load in a window like a training's; `lines_of` shows the
`Calibration` that comes of it, and `store` keeps it. `burner` is the load, a program of its own.
"""

from wattest.calibration.measure import Calibration, calibrate, store
from wattest.calibration.table import lines_of

__all__ = ["Calibration", "calibrate", "lines_of", "store"]
