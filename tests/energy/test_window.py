"""The window: its edges, the loop that waits and samples, its traces and its own cost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fakes.child import Job, start_energy_child
from fakes.clock import FakeTime
from fakes.nvml import FakeGpu, FakeGpuScript, build_fake_nvml
from fakes.powercap import PowercapTree, PowercapWriter
from fakes.profile import square, steady

from wattest.energy import METRICS, Window, find_sensors
from wattest.energy.traces import TraceFolder
from wattest.energy.types import NS
from wattest.errors import EnergyError


class TickingKind:
    """A kind of source that only notes when it is asked for what."""

    def __init__(self, period_seconds: float = 0.05, slow_seconds: float = 0.0) -> None:
        self.period_ns = int(period_seconds * NS)
        self.slow_seconds = slow_seconds
        self.calls: list[tuple[str, int]] = []

    def _note(self, what: str) -> None:
        self.calls.append((what, time.monotonic_ns()))

    def prepare(self):
        self._note("prepare")

    def read_opening(self):
        self._note("opening")

    def sample(self, now_ns):
        self._note("sample")
        time.sleep(self.slow_seconds)

    def read_closing(self):
        self._note("closing")

    def finish(self, opened_ns, ended_ns):
        self._note("finish")

    def results(self, schedule):
        return ()

    def live(self):
        return {"cpu_watts": 12.0, "cpu_joules": 34.0}

    def times(self, what: str) -> list[int]:
        return [at for name, at in self.calls if name == what]


def open_window(folder: Path, *kinds: TickingKind) -> Window:
    return Window(folder, lambda traces: kinds, lambda domain: "no source", Path("/proc"))


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_the_edges_are_read_last_before_and_first_after_the_window(tmp_path):
    kind = TickingKind()
    window = open_window(tmp_path / "energy", kind)
    assert [name for name, _ in kind.calls] == ["prepare", "opening"]
    assert 0 <= window.opened_ns - kind.times("opening")[0] < 5_000_000
    before_ns = time.monotonic_ns()
    window.close()
    assert [name for name, _ in kind.calls][2:] == ["closing", "finish"]
    assert kind.times("closing")[0] - before_ns < 5_000_000


def test_a_ready_descriptor_ends_the_wait_at_once(tmp_path, pipe):
    reading, writing = pipe
    window = open_window(tmp_path / "energy", TickingKind(period_seconds=5.0))
    os.write(writing, b"x")
    before_ns = time.monotonic_ns()
    assert window.wait([reading]) == (reading,)
    assert time.monotonic_ns() - before_ns < 50_000_000


def test_the_end_of_a_process_is_seen_at_once(tmp_path):
    kind = TickingKind()
    window = open_window(tmp_path / "energy", kind)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3)"])
    fd = os.pidfd_open(child.pid)
    try:
        assert window.wait([fd], window.opened_ns + 10 * NS) == (fd,)
    finally:
        os.close(fd)
        child.wait(10)
    assert len(kind.times("sample")) >= 4


def test_the_wait_ends_at_its_time_with_nothing(tmp_path, pipe):
    window = open_window(tmp_path / "energy", TickingKind())
    until_ns = window.opened_ns + 230_000_000
    assert window.wait([pipe[0]], until_ns) == ()
    assert 0 <= time.monotonic_ns() - until_ns < 100_000_000


def test_a_wait_whose_time_has_passed_still_looks_at_its_descriptors(tmp_path, pipe):
    window = open_window(tmp_path / "energy", TickingKind())
    assert window.wait([pipe[0]], window.opened_ns) == ()
    os.write(pipe[1], b"x")
    assert window.wait([pipe[0]], window.opened_ns) == (pipe[0],)


def test_a_closed_descriptor_is_handed_back_instead_of_waited_for(tmp_path):
    window = open_window(tmp_path / "energy", TickingKind())
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    assert window.wait([reading], window.opened_ns + NS) == (reading,)


def test_waiting_for_nothing_is_refused(tmp_path):
    window = open_window(tmp_path / "energy", TickingKind())
    with pytest.raises(ValueError, match="neither"):
        window.wait([])


def test_an_interrupt_comes_through_the_wait(tmp_path, pipe):
    window = open_window(tmp_path / "energy", TickingKind())
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            window.wait([pipe[0]], window.opened_ns + 5 * NS)
    finally:
        signal.signal(signal.SIGALRM, previous)


def test_sampling_times_are_absolute_and_do_not_drift(tmp_path):
    kind = TickingKind(period_seconds=0.05)
    window = open_window(tmp_path / "energy", kind)
    for _ in range(20):
        window.wait((), time.monotonic_ns() + 37_000_000)
    window.close()
    lateness = [(at - window.opened_ns) % 50_000_000 for at in kind.times("sample")]
    assert len(lateness) >= 12
    assert sorted(lateness)[len(lateness) // 2] < 10_000_000


def test_missed_sampling_times_are_skipped_and_counted(tmp_path):
    kind = TickingKind(period_seconds=0.02, slow_seconds=0.05)
    window = open_window(tmp_path / "energy", kind)
    window.wait((), window.opened_ns + 500_000_000)
    cost = window.close().meter_cost
    assert cost["missed_ticks"] >= 8
    assert cost["samples"] + cost["missed_ticks"] == cost["expected_samples"]
    assert cost["longest_gap_seconds"] >= 0.05


def test_kinds_are_sampled_each_at_its_own_period(tmp_path):
    fast, slow = TickingKind(0.02), TickingKind(0.2)
    window = open_window(tmp_path / "energy", fast, slow)
    window.wait((), window.opened_ns + 650_000_000)
    window.close()
    assert len(slow.times("sample")) == 3
    assert len(fast.times("sample")) >= 20


def test_without_any_source_a_window_measures_time_and_nothing_else(tmp_path):
    window = open_window(tmp_path / "energy")
    window.wait((), window.opened_ns + 100_000_000)
    measurement = window.close()
    assert measurement.energy_metrics() == dict.fromkeys(METRICS)
    assert measurement.duration_seconds >= 0.1
    assert (measurement.faults, measurement.flags) == ((), ())
    domains = measurement.provenance()["domains"]
    assert {domain["status"] for domain in domains.values()} == {"unavailable"}
    assert measurement.machine_cpu is not None
    assert measurement.machine_cpu.capacity_seconds > 0


def test_the_duration_ends_with_what_was_measured(tmp_path):
    window = open_window(tmp_path / "energy")
    ended_ns = window.opened_ns + 50_000_000
    window.wait((), window.opened_ns + 150_000_000)
    measurement = window.close(ended_ns)
    assert measurement.duration_seconds == 0.05
    assert window.close() is measurement


def test_a_closed_window_waits_no_more(tmp_path):
    window = open_window(tmp_path / "energy", TickingKind())
    window.close()
    with pytest.raises(EnergyError, match="closed"):
        window.wait((), time.monotonic_ns())


def test_what_an_earlier_run_left_is_never_taken_for_a_result(tmp_path):
    (tmp_path / "energy").mkdir()
    (tmp_path / "energy" / "cpu_energy.txt").write_text("8,441.42 Joules power/energy-pkg/\n")
    with pytest.raises(EnergyError, match=r"holds cpu_energy\.txt of an earlier run"):
        open_window(tmp_path / "energy")


def test_an_empty_folder_is_taken_and_a_file_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    open_window(tmp_path / "empty").close()
    assert (tmp_path / "empty" / "cpu_energy.txt").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(EnergyError, match="file: cannot hold the energy of a run"):
        open_window(tmp_path / "file")


def test_leaving_a_window_on_an_error_closes_its_traces_and_measures_nothing(tmp_path):
    kind = TickingKind()

    def record(traces: TraceFolder) -> list[TickingKind]:
        traces.open("t.csv", "timestamp,a").write(time.monotonic_ns(), 1.0)
        return [kind]

    with pytest.raises(RuntimeError), Window(tmp_path / "energy", record, str, Path("/proc")):
        raise RuntimeError
    assert len((tmp_path / "energy" / "t.csv").read_text().splitlines()) == 2
    assert kind.times("closing") == []


def test_the_progress_line_reads_nothing(tmp_path):
    kind = TickingKind()
    window = open_window(tmp_path / "energy", kind)
    calls = len(kind.calls)
    snapshot = window.latest()
    assert (snapshot.cpu_watts, snapshot.cpu_joules, snapshot.gpu_watts) == (12.0, 34.0, None)
    assert snapshot.elapsed_seconds >= 0
    assert len(kind.calls) == calls


@pytest.fixture(scope="module")
def cost(tmp_path_factory):
    """A window at 10 Hz over a fake GPU and a powercap tree, in a process of its own."""
    root = tmp_path_factory.mktemp("cost")
    library = build_fake_nvml(root / "library")
    script = FakeGpuScript([FakeGpu(power=square(100, 300, 0.7, 30))])
    tree = PowercapTree(root / "sys")
    with PowercapWriter({tree.add_package(0): steady(60), tree.add_dram(0): steady(4)}, period=0.1):
        job = Job(root / "energy", 1.0, settings={"sys_root": str(tree.root)})
        child = start_energy_child([job], script.environment(library, root / "script"))
        return child.results()[0]["cost"]


def test_the_meter_says_what_it_cost(cost):
    assert 0 < cost["loop_cpu_percent_of_core"] < 100
    assert 0 < cost["setup_seconds"] < 2
    assert cost["nominal_period_seconds"] == 0.1
    assert cost["p95_period_seconds"] >= 0.09
    # 1 s at 10 Hz; a machine that is busy may take some of them late, never more of them.
    assert 3 <= cost["samples"] <= 12


def test_a_window_over_a_live_tree_closes_at_once(tmp_path):
    tree = PowercapTree(tmp_path / "sys")
    clock = FakeTime()
    writer = PowercapWriter({tree.add_package(0): steady(60)}).within(clock)
    with clock.everywhere(), writer, find_sensors(tree.root) as sensors:
        began_ns = clock.now_ns
        window = sensors.open_window(tmp_path / "energy")
        measurement = window.close()
        took_ns = clock.now_ns - began_ns
    assert took_ns < 200_000_000
    assert measurement.energy_metrics()["cpu_energy_pkg_joules"] is None
    assert [fault.gate for fault in measurement.faults] == ["window_short"]


class Sleeper:
    """CLOCK_BOOTTIME and the wall clock, which may leave CLOCK_MONOTONIC behind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slept_ns = self.stepped_ns = 0
        boot, wall = time.clock_gettime_ns, time.time_ns
        monkeypatch.setattr("time.clock_gettime_ns", lambda clock: boot(clock) + self.slept_ns)
        monkeypatch.setattr("time.time_ns", lambda: wall() + self.slept_ns + self.stepped_ns)


def test_a_machine_that_slept_within_the_window_gives_no_number(tmp_path, monkeypatch):
    clocks = Sleeper(monkeypatch)
    tree = PowercapTree(tmp_path / "sys")
    with PowercapWriter({tree.add_package(0): steady(60)}), find_sensors(tree.root) as sensors:
        window = sensors.open_window(tmp_path / "energy")
        window.wait((), window.opened_ns + 300_000_000)
        clocks.slept_ns = 7200 * NS
        measurement = window.close()
    assert [fault.gate for fault in measurement.faults] == ["machine_slept"]
    assert measurement.faults[0].text == "the machine slept for 7200.0 s within the window"
    assert set(measurement.energy_metrics().values()) == {None}
    package = measurement.provenance()["domains"]["cpu_pkg"]
    assert (package["status"], package["energy_joules"]) == ("invalid", None)
    assert package["reason"] == measurement.faults[0].text
    assert "wall_clock" not in [flag.gate for flag in measurement.flags]


def test_a_wall_clock_that_is_set_within_the_window_is_flagged(tmp_path, monkeypatch):
    clocks = Sleeper(monkeypatch)
    kind = TickingKind()
    window = open_window(tmp_path / "energy", kind)
    trace = window._traces.open("t.csv", "timestamp,a")
    trace.write(time.monotonic_ns(), 1.0)
    clocks.stepped_ns = -3600 * NS
    trace.write(time.monotonic_ns(), 2.0)
    measurement = window.close()
    (flag,) = measurement.flags
    assert flag.gate == "wall_clock"
    assert "-3600.0 s" in flag.text
    edges = measurement.provenance()["window"]
    opened, closed = (datetime.fromisoformat(edges[name]) for name in ("opened_at", "closed_at"))
    assert 3590 < (opened - closed).total_seconds() < 3601
    # The trace goes on by the clock of its beginning: its rows keep their order, and join.
    rows = (tmp_path / "energy" / "t.csv").read_text().splitlines()[1:]
    first, second = (float(row.split(",")[0]) for row in rows)
    assert 0 <= second - first < 5
    assert first == pytest.approx(opened.timestamp(), abs=5)


def test_the_edges_are_told_in_utc_too(tmp_path):
    window = open_window(tmp_path / "energy", TickingKind())
    edges = window.close().provenance()["window"]
    opened = datetime.fromisoformat(edges["opened_at"])
    assert opened.utcoffset() == timedelta(0)
    assert opened.timestamp() == pytest.approx(time.time(), abs=5)
    assert edges["slept_seconds"] == pytest.approx(0, abs=0.1)
    assert edges["wall_clock_step_seconds"] == pytest.approx(0, abs=1)
