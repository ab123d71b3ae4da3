"""What one GPU did in one window: its counter, its integrated power, its vital signs."""

from __future__ import annotations

import time

from wattest.energy import design
from wattest.energy.gpu.board import Gpu, GpuState
from wattest.energy.gpu.power import Integral, Mean
from wattest.energy.recording import read
from wattest.energy.track import CounterTrack
from wattest.energy.types import NS, ReadingError

_SLOW_NS = int(design.SLOW_CALL_SECONDS * NS)
_VITALS = (
    "temperature_celsius", "utilization_percent", "sm_clock_mhz", "memory_clock_mhz",
    "memory_used_mb",
)  # fmt: skip


class GpuTrack:
    """One GPU in one window.

    Attributes:
        counter: Its energy counter; None if it has none that can be believed.
        power: Its preferred power reading, integrated; `second_power` is the other one, if any.
        power_lost_ns: Since when, without interruption, power is not answered; None if it is.
        limit_watts: The highest power limit that it told, which a driver may raise under load.
        vitals: Its vital signs by their names in a `GpuState`.
        failed_vitals: Readings of them that lacked temperature or utilisation.
        throttled: Seconds by cause that the window added; None where the driver does not tell.
        slow_calls: Calls of the driver that took long.
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
        self.limit_watts = gpu.limit_watts
        self.throttled: dict[str, float | None] = {}
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
        self.limit_watts = max(filter(None, (self.limit_watts, state.limit_watts)), default=None)
        for name, mean in self.vitals.items():
            mean.add(getattr(state, name))
        if state.temperature_celsius is None or state.utilization_percent is None:
            self.failed_vitals += 1
        return state

    def read_throttling(self) -> None:
        """Read the counters of throttling; the second call gives what the window added."""
        causes, before = self.gpu.nvml.throttle_fields, self._throttle_start
        now = self.gpu.nvml.fields(self.gpu.handle, filter(None, causes.values()))
        self._throttle_start = now
        for cause, field in causes.items():
            start, end = (None, None) if field is None else (before.get(field), now[field])
            spent_ns = -1 if start is None or end is None else end - start
            self.throttled[cause] = None if spent_ns < 0 else spent_ns / NS

    def _time(self, before_ns: int) -> int:
        """Note how long a call took that began at `before_ns`; the middle of it."""
        after_ns = time.monotonic_ns()
        took_ns = after_ns - before_ns
        self.longest_call_ns = max(self.longest_call_ns, took_ns)
        self.slow_calls += took_ns > _SLOW_NS
        return (before_ns + after_ns) // 2
