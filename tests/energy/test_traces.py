"""The traces of a window: written as it goes, at no cost to the measurement."""

from __future__ import annotations

import time

import pytest

from conftest import room_for
from wattest.energy.traces import TraceFolder


def test_a_full_disk_ends_the_trace_and_not_the_measurement(tmp_path):
    traces = TraceFolder(tmp_path / "energy")
    trace = traces.open("gpu_power.csv", "timestamp,power_draw_w")
    with room_for(1000):
        for number in range(200):
            trace.write(number * 100_000_000, 230.5)
        traces.close()
    flag = traces.flags()[0]
    assert flag.gate == "trace_incomplete"
    assert "gpu_power.csv is incomplete: File too large" in flag.text
    assert (tmp_path / "energy" / "gpu_power.csv").stat().st_size <= 1000


def test_a_trace_writes_what_is_not_known_as_such(tmp_path):
    traces = TraceFolder(tmp_path / "energy")
    traces.open("t.csv", "timestamp,a,b", 1).write(time.monotonic_ns(), None, "GPU-1")
    traces.close()
    stamp, *cells = (tmp_path / "energy" / "t.csv").read_text().splitlines()[1].split(",")
    assert cells == ["N/A", "GPU-1"]
    assert float(stamp) == pytest.approx(time.time(), abs=5)
