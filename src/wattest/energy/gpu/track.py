"""What one GPU did in one window: its counter, its integrated power, its vital signs."""

from __future__ import annotations

import time

from wattest.energy import design
from wattest.energy.counter import CounterTrack
from wattest.energy.gpu.board import GpuReader, Vitals
from wattest.energy.gpu.nvml import FIELD_POWER_CAP, THROTTLE_FIELDS
from wattest.energy.types import NS, CounterSpec, ReadingError

_THROTTLE_FIELDS = (FIELD_POWER_CAP, *THROTTLE_FIELDS)


class Integral:
    """Power integrated by the trapezoid rule over the actual times of its samples.

    Attributes:
        joules: The integral from the first sample to the last.
        first_ns: Monotonic time of the first sample; None without one.
        last_ns: Monotonic time of the last sample.
        low_watts: Least power; None without a sample.
        high_watts: Greatest power; None without a sample.
        longest_gap_ns: Longest time between two samples.
    """

    __slots__ = (
        "_first_watts",
        "first_ns",
        "high_watts",
        "joules",
        "last_ns",
        "last_watts",
        "longest_gap_ns",
        "low_watts",
        "samples",
    )

    def __init__(self) -> None:
        self.joules = 0.0
        self.first_ns: int | None = None
        self.last_ns = 0
        self.samples = 0
        self._first_watts = self.last_watts = 0.0
        self.low_watts: float | None = None
        self.high_watts: float | None = None
        self.longest_gap_ns = 0

    def add(self, at_ns: int, watts: float) -> None:
        """Add a sample."""
        self.samples += 1
        if self.low_watts is None or self.high_watts is None:
            self.first_ns = self.last_ns = at_ns
            self._first_watts = self.last_watts = self.low_watts = self.high_watts = watts
            return
        gap_ns = at_ns - self.last_ns
        self.joules += (watts + self.last_watts) * gap_ns / (2 * NS)
        self.last_ns = at_ns
        self.last_watts = watts
        if gap_ns > self.longest_gap_ns:
            self.longest_gap_ns = gap_ns
        if watts < self.low_watts:
            self.low_watts = watts
        elif watts > self.high_watts:
            self.high_watts = watts

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


class Mean:
    """Mean and maximum of what is sampled evenly."""

    __slots__ = ("_count", "_sum", "high", "last")

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0.0
        self.high: float | None = None
        self.last: float | None = None

    def add(self, value: float | None) -> None:
        """Add a sample; None, which means not known, is not one."""
        self.last = value
        if value is None:
            return
        self._count += 1
        self._sum += value
        self.high = value if self.high is None else max(self.high, value)

    @property
    def value(self) -> float | None:
        """The mean; None without a sample."""
        return self._sum / self._count if self._count else None

    @property
    def whole_mean(self) -> float | None:
        """The mean; None if the last sample was not known."""
        return None if self.last is None else self.value

    @property
    def whole_high(self) -> float | None:
        """The maximum; None if the last sample was not known."""
        return None if self.last is None else self.high


class GpuTrack:
    """One GPU in one window.

    Attributes:
        counter: Its energy counter; None if it has none that can be believed.
        power: Its preferred power reading, integrated.
        second_power: Its second power reading, integrated; empty if it has none.
        failed_power_reads: Power readings that were not answered.
        power_lost_ns: Since when, without interruption, power is not answered; None if it is.
        power_failure: The last failure in words.
        slow_calls: Calls of the driver that took long.
        longest_call_ns: The longest of them.
    """

    def __init__(self, reader: GpuReader) -> None:
        gpu = reader.gpu
        self.reader = reader
        self.counter = CounterTrack(_spec(reader)) if gpu.has_counter else None
        self.power = Integral()
        self.second_power = Integral()
        self.failed_power_reads = self.failed_vitals = 0
        self.power_lost_ns: int | None = None
        self.power_failure = ""
        self.slow_calls = self.longest_call_ns = 0
        self.temperature, self.utilization = Mean(), Mean()
        self.sm_clock, self.memory_clock, self.memory_used = Mean(), Mean(), Mean()
        self.throttled: dict[int, float | None] = {}
        self._throttle_start: dict[int, float | None] = {}
        self._monotonic_ns = time.monotonic_ns
        self._slow_ns = int(design.SLOW_CALL_SECONDS * NS)

    def read_power(self) -> float | None:
        """Read power once and integrate it; None if that failed."""
        before_ns = self._monotonic_ns()
        try:
            watts, second = self.reader.watts()
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
        before_ns = self._monotonic_ns()
        try:
            value = self.reader.millijoules()
        except ReadingError as error:
            self.counter.fail(before_ns, error)
            self._time(before_ns)
            return False
        self.counter.read(self._time(before_ns), value)
        return True

    def read_vitals(self) -> Vitals:
        """Read what is read once a second."""
        before_ns = self._monotonic_ns()
        vitals = self.reader.vitals()
        self._time(before_ns)
        self.temperature.add(vitals.temperature_celsius)
        self.utilization.add(vitals.utilization_percent)
        self.sm_clock.add(vitals.sm_clock_mhz)
        self.memory_clock.add(vitals.memory_clock_mhz)
        self.memory_used.add(vitals.memory_used_mb)
        if vitals.temperature_celsius is None or vitals.utilization_percent is None:
            self.failed_vitals += 1
        return vitals

    def read_throttling(self) -> None:
        """Read the counters of throttling; the second call gives what the window added, seconds."""
        now = self.reader.fields(_THROTTLE_FIELDS)
        if not self._throttle_start:
            self._throttle_start = now
            return
        for field, end in now.items():
            start = self._throttle_start[field]
            if start is None or end is None or end < start:
                self.throttled[field] = None
            else:
                self.throttled[field] = (end - start) / NS

    def _time(self, before_ns: int) -> int:
        """Note how long a call took that began at `before_ns`; the middle of it."""
        after_ns = self._monotonic_ns()
        took_ns = after_ns - before_ns
        self.longest_call_ns = max(self.longest_call_ns, took_ns)
        self.slow_calls += took_ns > self._slow_ns
        return (before_ns + after_ns) // 2


def _spec(reader: GpuReader) -> CounterSpec:
    probed = reader.gpu.probed
    assumed = design.ASSUMED_GPU_PERIOD_SECONDS
    period = probed.period_seconds if probed else None
    longest = probed.longest_seconds if probed else None
    return CounterSpec(
        label=reader.gpu.uuid,
        domain="gpu",
        joules_per_count=1e-3,
        wraps=False,
        max_range=None,
        period_seconds=period,
        step_seconds=assumed if longest is None else longest,
        wrap_watts=design.JUMP_POWER_WATTS,
        jump_watts=design.JUMP_POWER_WATTS,
    )
