"""Windows around parts of a test, measured by the campaign's own sensors, gates and leases."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wattest.energy import Measurement, Sensors, Window, find_sensors, other_cpu_load
from wattest.errors import LeaseError, WattestError
from wattest.machine import Claim, counters_of, take
from wattest.plugin.options import sys_root

DOMAINS = ("cpu_joules", "gpu_joules")
"""What a window gives of energy, by its name there."""

_TURN = "counters for tests (next in turn)"
_PREFIXES = {"cpu_joules": "cpu", "gpu_joules": "gpu"}


@dataclass
class MeasuredWindow:
    """What one window gave; empty until its block has ended.

    Attributes:
        seconds: From edge to edge.
        cpu_joules: Packages and memory of the whole machine; None where nothing was measured.
        gpu_joules: All visible GPUs; None where nothing was measured.
        flags: What the reader must know, in words: a short window, other load, a lost counter.
        missing: Why a domain has no number, by its name here.
        waited_seconds: For how long the counters were another's.
    """

    seconds: float | None = None
    cpu_joules: float | None = None
    gpu_joules: float | None = None
    flags: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    waited_seconds: float = 0.0


class Meter:
    """Measures the windows of one run of pytest; looks for sensors when the first one opens.

    Two processes never measure at once: each window holds the lease of the counters. Windows of
    one process may lie inside each other.

    Args:
        wait_seconds: How long a window waits for another's lease at most.
        announce: Is told who is waited for.
    """

    def __init__(self, wait_seconds: float, announce: Callable[[str], None]) -> None:
        self._wait_seconds = wait_seconds
        self._announce = announce
        self._sensors: Sensors | None = None
        self._lease = contextlib.ExitStack()
        self._open_windows = 0
        self._counting = threading.Lock()

    def close(self) -> None:
        """Release the hardware; may be called twice."""
        if self._sensors is not None:
            self._sensors.close()
            self._sensors = None

    @contextlib.contextmanager
    def window(self) -> Iterator[MeasuredWindow]:
        """Measure the block; what was measured is there after it, whatever ended it."""
        measured = MeasuredWindow()
        with contextlib.ExitStack() as stack:
            window, why = self._open(stack, measured)
            if window is None:
                yield from _unmeasured(measured, why)
                return
            cpu = _own_cpu_seconds()
            sampling = _Sampling(window)
            try:
                yield measured
            finally:
                sampling.stop()
                _fill(measured, window.close(), _own_cpu_seconds() - cpu)

    def _open(
        self, stack: contextlib.ExitStack, measured: MeasuredWindow
    ) -> tuple[Window | None, str]:
        """Open a window in its turn; where that is not possible, say why: the test runs anyway."""
        try:
            self._acquire(stack, measured)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="wattest-energy-"))
            return stack.enter_context(self._found().open_window(Path(folder) / "window")), ""
        except (WattestError, OSError) as error:
            return None, str(error)

    def _found(self) -> Sensors:
        if self._sensors is None:
            # What cannot be read is named as missing: a test runs without it.
            self._sensors = find_sensors(sys_root(None), allow_missing=frozenset({"cpu", "gpu"}))
            self._sensors.learn_periods()
        return self._sensors

    def _acquire(self, stack: contextlib.ExitStack, measured: MeasuredWindow) -> None:
        """Hold the lease of every counter until the outermost window of this process closes."""
        with self._counting:
            if not self._open_windows:
                counters = counters_of(self._found().findings, sys_root(None))
                if counters:
                    self._lease = self._in_turn(counters, measured)
            self._open_windows += 1
        stack.callback(self._release)

    def _in_turn(self, counters: Sequence[Claim], measured: MeasuredWindow) -> contextlib.ExitStack:
        """Take the counters; who waits for them has the turn before whoever has just measured."""
        deadline = time.monotonic() + self._wait_seconds
        with contextlib.ExitStack() as turn:
            announce = turn.enter_context(self._waiting(measured))
            # Without a folder for locks it is a matter of chance, and as right.
            with contextlib.suppress(LeaseError):
                turn.enter_context(take([_TURN], self._wait_seconds, announce))
            return take(counters, deadline - time.monotonic(), announce)

    @contextlib.contextmanager
    def _waiting(self, measured: MeasuredWindow) -> Iterator[Callable[[str], None]]:
        """Yield what announces who is waited for, and note for how long that was."""
        since: list[float] = []

        def announce(text: str) -> None:
            since.append(time.monotonic())
            self._announce(text)

        try:
            yield announce
        finally:
            if since:
                measured.waited_seconds = time.monotonic() - since[0]

    def _release(self) -> None:
        with self._counting:
            self._open_windows -= 1
            if not self._open_windows:
                self._lease.close()


class _Sampling:
    """Keeps a window sampled from a thread of its own while the test's code runs."""

    def __init__(self, window: Window) -> None:
        self._reader, self._writer = os.pipe()
        self._thread = threading.Thread(
            target=window.wait, args=((self._reader,),), name="wattest-energy", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Let no sample be taken any more."""
        os.write(self._writer, b".")
        self._thread.join()
        os.close(self._reader)
        os.close(self._writer)


def _unmeasured(measured: MeasuredWindow, reason: str) -> Iterator[MeasuredWindow]:
    began = time.monotonic()
    try:
        yield measured
    finally:
        measured.seconds = time.monotonic() - began
        measured.missing = dict.fromkeys(DOMAINS, reason)


def _fill(measured: MeasuredWindow, measurement: Measurement, own_cpu_seconds: float) -> None:
    values = measurement.energy_metrics()
    measured.seconds = measurement.duration_seconds
    measured.cpu_joules = values["cpu_energy_total_joules"]
    measured.gpu_joules = values["gpu_energy_total_joules"]
    measured.missing = {
        name: _why(measurement, prefix)
        for name, prefix in _PREFIXES.items()
        if getattr(measured, name) is None
    }
    reasons = [*measurement.faults, *measurement.flags]
    if (machine := measurement.machine_cpu) is not None:
        load = other_cpu_load(machine.busy_seconds, own_cpu_seconds, machine.capacity_seconds)
        reasons += [load] if load else []
    measured.flags = tuple(dict.fromkeys(reason.text for reason in reasons))


def _why(measurement: Measurement, prefix: str) -> str:
    """Why a domain has no number: its sources that gave none, each with its reason."""
    reasons = [
        result.reason or ""
        for result in measurement.results
        if result.domain.startswith(prefix) and result.energy_joules is None
    ]
    return "; ".join(dict.fromkeys(filter(None, reasons))) or "nothing was measured"


def _own_cpu_seconds() -> float:
    """CPU time of this process and of those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
