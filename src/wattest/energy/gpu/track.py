"""What one GPU did in one window: its counter, its integrated power, its vital signs."""

from __future__ import annotations

import time
from dataclasses import dataclass

from wattest.energy import design
from wattest.energy.gpu.board import Gpu, GpuState
from wattest.energy.gpu.nvml import FIELD_POWER_CAP, THROTTLE_FIELDS
from wattest.energy.recording import read
from wattest.energy.track import CounterTrack
from wattest.energy.types import NS, ReadingError

_VITALS = (
    "temperature_celsius",
    "utilization_percent",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "memory_used_mb",
)


@dataclass
class Integral:
    """Power integrated by the trapezoid rule over the actual times of its samples.

    Attributes:
        samples: How many there were.
        joules: The integral from the first sample to the last.
        first_ns: Monotonic time of the first sample; None without one.
        last_ns: Monotonic time of the last sample.
        last_watts: Power in the last sample.
        low_watts: Least power; None without a sample.
        high_watts: Greatest power; None without a sample.
        longest_gap_ns: Longest time between two samples.
    """

    samples: int = 0
    joules: float = 0.0
    first_ns: int | None = None
    last_ns: int = 0
    last_watts: float = 0.0
    low_watts: float | None = None
    high_watts: float | None = None
    longest_gap_ns: int = 0
    _first_watts: float = 0.0

    def add(self, at_ns: int, watts: float) -> None:
        """Add a sample."""
        if self.low_watts is None or self.high_watts is None:
            self.first_ns, self._first_watts = at_ns, watts
            self.low_watts = self.high_watts = watts
        else:
            gap_ns = at_ns - self.last_ns
            self.joules += (watts + self.last_watts) * gap_ns / (2 * NS)
            self.longest_gap_ns = max(self.longest_gap_ns, gap_ns)
            self.low_watts = min(self.low_watts, watts)
            self.high_watts = max(self.high_watts, watts)
        self.samples += 1
        self.last_ns, self.last_watts = at_ns, watts

    @property
    def range_watts(self) -> float:
        """From the least power to the greatest."""
        return (self.high_watts or 0.0) - (self.low_watts or 0.0)

    @property
    def mean_watts(self) -> float | None:
        """Mean power over the time from the first sample to the last; None without a sample."""
        if self.first_ns is None:
            return None
        seconds = (self.last_ns - self.first_ns) / NS
        return self.joules / seconds if seconds > 0 else self.last_watts

    def gap_ns(self, from_ns: int, to_ns: int) -> int:
        """Longest time without a sample from `from_ns` to `to_ns`, the edges being included."""
        if self.first_ns is None:
            return to_ns - from_ns
        return max(self.longest_gap_ns, self.first_ns - from_ns, to_ns - self.last_ns)

    def over(self, from_ns: int, to_ns: int) -> float | None:
        """Joules from `from_ns` to `to_ns`, the ends being held constant; None without samples."""
        if self.first_ns is None:
            return None
        before = (self.first_ns - from_ns) * self._first_watts
        after = (to_ns - self.last_ns) * self.last_watts
        return self.joules + (before + after) / NS


@dataclass
class Mean:
    """Mean and maximum of what is sampled evenly.

    Attributes:
        high: The maximum; None without a sample.
        last: The last value; None if that was not known, so that the rest speaks for a part only.
    """

    high: float | None = None
    last: float | None = None
    _count: int = 0
    _sum: float = 0.0

    def add(self, value: float | None) -> None:
        """Add a sample; None, which means not known, is not one."""
        self.last = value
        if value is not None:
            self._count += 1
            self._sum += value
            self.high = value if self.high is None else max(self.high, value)

    @property
    def value(self) -> float | None:
        """The mean; None without a sample."""
        return self._sum / self._count if self._count else None


class GpuTrack:
    """One GPU in one window.

    Attributes:
        gpu: The GPU.
        counter: Its energy counter; None if it has none that can be believed.
        power: Its preferred power reading, integrated.
        second_power: Its second power reading, integrated; empty if it has none.
        failed_power_reads: Power readings that were not answered.
        power_lost_ns: Since when, without interruption, power is not answered; None if it is.
        power_failure: The last failure in words.
        vitals: Its vital signs by their names in a `GpuState`.
        failed_vitals: Readings of them that lacked temperature or utilisation.
        throttled: Seconds by throttling field that the window added; None where not known.
        slow_calls: Calls of the driver that took long.
        longest_call_ns: The longest of them.
    """

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.counter = CounterTrack(gpu.counter) if gpu.counter else None
        self.power, self.second_power = Integral(), Integral()
        self.failed_power_reads = self.failed_vitals = 0
        self.power_lost_ns: int | None = None
        self.power_failure = ""
        self.slow_calls = self.longest_call_ns = 0
        self.vitals = {name: Mean() for name in _VITALS}
        self.throttled: dict[int, float | None] = {}
        self._throttle_start: dict[int, float | None] = {}

    def read_power(self) -> float | None:
        """Read power once and integrate it; None if that failed, or if it has none."""
        if self.gpu.read_power is None:
            return None
        before_ns = time.monotonic_ns()
        try:
            watts, second = self.gpu.read_power()
        except ReadingError as error:
            self.failed_power_reads += 1
            self.power_failure = str(error)
            if self.power_lost_ns is None:
                self.power_lost_ns = before_ns
            self._time(before_ns)
            return None
        self.power_lost_ns = None
        at_ns = self._time(before_ns)
        self.power.add(at_ns, watts)
        if second is not None:
            self.second_power.add(at_ns, second)
        return watts

    def read_counter(self) -> bool:
        """Read the energy counter between the edges; whether there is one and it answered."""
        if self.counter is None:
            return False
        before_ns = time.monotonic_ns()
        has_answered = read(self.counter)
        self._time(before_ns)
        return has_answered

    def read_vitals(self) -> GpuState:
        """Read what is read once a second."""
        before_ns = time.monotonic_ns()
        state = self.gpu.state(self.power.last_watts)
        self._time(before_ns)
        for name, mean in self.vitals.items():
            mean.add(getattr(state, name))
        if state.temperature_celsius is None or state.utilization_percent is None:
            self.failed_vitals += 1
        return state

    def read_throttling(self) -> None:
        """Read the counters of throttling; the second call gives what the window added."""
        now = self.gpu.nvml.fields(self.gpu.handle, (FIELD_POWER_CAP, *THROTTLE_FIELDS))
        start, self._throttle_start = self._throttle_start, now
        for field, end in now.items() if start else ():
            begin = start[field]
            spent_ns = None if begin is None or end is None or end < begin else end - begin
            self.throttled[field] = None if spent_ns is None else spent_ns / NS

    def _time(self, before_ns: int) -> int:
        """Note how long a call took that began at `before_ns`; the middle of it."""
        after_ns = time.monotonic_ns()
        took_ns = after_ns - before_ns
        self.longest_call_ns = max(self.longest_call_ns, took_ns)
        self.slow_calls += took_ns > design.SLOW_CALL_SECONDS * NS
        return (before_ns + after_ns) // 2
