"""The logs of a load that may run for days."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from zoo.helpers import MakeLoop, await_status, await_text, kilobytes, python

pytest_plugins = ["zoo.fixtures"]

KIBIBYTE = 1024


def counting(count: int, then: float) -> tuple[str, ...]:
    """Return a command that writes many lines in one go, and sleeps for some seconds then.

    In one go, because what is written in the very moment in which a log is cut is lost.
    """
    code = f"""
import os, time
os.write(1, b"".join(b"%d\\n" % number for number in range(1, {count + 1})))
time.sleep({then})
"""
    return python(code)


def dropped_bytes(log: Path) -> int:
    """Return how much of a log was dropped, as it says itself; 0 while it is being cut."""
    told = re.search(rb"\[wattest: (\d+) bytes of output were dropped", log.read_bytes())
    return int(told[1]) if told else 0


def await_dropped(log: Path, count: int, seconds: float = 20.0) -> None:
    """Wait until more than `count` bytes of a log were dropped."""
    deadline = time.monotonic() + seconds
    while (dropped := dropped_bytes(log)) <= count:
        assert time.monotonic() < deadline, f"only {dropped} bytes were dropped"
        time.sleep(0.01)


def test_a_log_loses_its_middle_and_says_so(make_loop: MakeLoop, log_folder: Path) -> None:
    count = 20_000
    loop = make_loop(*counting(count, then=60), log_cap_bytes=16 * KIBIBYTE)
    loop.start()
    await_text(log_folder / "run_1.log", f"\n{count}\n")
    await_dropped(log_folder / "run_1.log", 0)
    loop.stop()
    log = (log_folder / "run_1.log").read_text()
    assert len(log) <= 16 * KIBIBYTE
    head, _, rest = log.partition("\n[wattest: ")
    marker, _, tail = rest.partition("]\n")
    assert head.startswith("1\n2\n3\n")
    assert tail.endswith(f"\n{count}\n")
    assert "capped at 16384 bytes" in marker
    dropped = int(marker.split()[0])
    written = sum(len(str(number)) + 1 for number in range(1, count + 1))
    assert len(head) + len(tail) + dropped == written
    # What is kept is whole lines.
    assert [int(line) for line in tail.split()] == list(range(int(tail.split()[0]), count + 1))


def test_a_load_that_floods_its_log_does_not_fill_the_disk_or_the_memory(
    make_loop: MakeLoop, log_folder: Path
) -> None:
    cap = 256 * KIBIBYTE
    loop = make_loop(
        "sh", "-c", "while :; do head -c 65536 /dev/zero; sleep 0.002; done", log_cap_bytes=cap
    )
    loop.start()
    largest = 0
    end = time.monotonic() + 1
    while time.monotonic() < end:
        largest = max(largest, (log_folder / "run_1.log").stat().st_size)
        time.sleep(0.005)
    await_dropped(log_folder / "run_1.log", 2 * cap)
    # Between two looks at the log, a quarter of a second apart at most, it may run over.
    assert largest < 64 * cap
    assert kilobytes(loop.supervisor_pid, "VmHWM") < 40_000
    loop.stop(grace_seconds=1)
    assert (log_folder / "run_1.log").stat().st_size <= cap


def test_a_load_that_writes_faster_than_anybody_reads_costs_no_memory(
    make_loop: MakeLoop, log_folder: Path
) -> None:
    cap = 1024 * KIBIBYTE
    loop = make_loop("yes", "as fast as it can", log_cap_bytes=cap)
    loop.start()
    await_dropped(log_folder / "run_1.log", 200_000_000)
    assert loop.status().current_run == 1
    assert kilobytes(loop.supervisor_pid, "VmHWM") < 40_000
    loop.stop(grace_seconds=1)
    assert (log_folder / "run_1.log").stat().st_size <= cap


def test_a_log_that_overflows_at_the_very_end_is_capped_too(
    make_loop: MakeLoop, log_folder: Path
) -> None:
    loop = make_loop(*counting(20_000, then=0), log_cap_bytes=16 * KIBIBYTE)
    loop.start()
    await_status(loop, lambda status: status.runs_completed >= 2)
    loop.stop()
    assert (log_folder / "run_1.log").stat().st_size <= 16 * KIBIBYTE
    assert (log_folder / "run_1.log").read_text().endswith("\n20000\n")


def test_the_oldest_logs_go_but_never_the_first_and_the_newest(
    make_loop: MakeLoop, log_folder: Path
) -> None:
    loop = make_loop("sh", "-c", "head -c 4096 /dev/zero; sleep 0.01", logs_cap_bytes=32 * KIBIBYTE)
    loop.start()
    status = await_status(loop, lambda status: status.current_run >= 15, 30)
    assert not (log_folder / "run_6.log").exists()
    loop.stop()
    numbers = sorted(int(log.stem.removeprefix("run_")) for log in log_folder.glob("run_*.log"))
    assert numbers[0] == 1
    assert numbers[-1] >= status.current_run
    assert numbers[1:] == list(range(numbers[1], numbers[-1] + 1))
    assert sum(log.stat().st_size for log in log_folder.glob("run_*.log")) <= 32 * KIBIBYTE
    note = (log_folder / "dropped_logs.txt").read_text()
    assert f"deleted {numbers[1] - 2} logs, run_2.log to run_{numbers[1] - 1}.log" in note
    assert "capped at 32768 bytes" in note


def test_a_log_of_an_earlier_run_is_not_taken_for_one_of_this(
    make_loop: MakeLoop, log_folder: Path
) -> None:
    log_folder.mkdir()
    (log_folder / "run_1.log").write_text("old\n")
    loop = make_loop("sh", "-c", "echo new; sleep 60")
    loop.start()
    await_status(loop, lambda status: (log_folder / "run_1.log").stat().st_size > 0)
    assert (log_folder / "run_1.log").read_text() == "new\n"


def test_a_folder_that_goes_away_does_not_stop_the_load(
    make_loop: MakeLoop, log_folder: Path, tmp_path: Path
) -> None:
    loop = make_loop("sh", "-c", "echo output; sleep 0.02")
    loop.start()
    log_folder.rename(tmp_path / "moved")
    completed = loop.status().runs_completed
    await_status(loop, lambda status: status.runs_completed > completed + 2)
    assert not log_folder.exists()
    (tmp_path / "moved").rename(log_folder)
    run = loop.status().current_run
    await_status(loop, lambda status: status.current_run > run + 2)
    assert (log_folder / f"run_{run + 2}.log").read_text() == "output\n"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of 64 KiB."""
    mount = tmp_path / "tiny"
    mount.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(options, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_full_disk_stops_neither_the_load_nor_its_stop(
    make_loop: MakeLoop, tiny_disk: Path
) -> None:
    flood = python(
        "import os, time\ntry: os.write(1, b'x' * 99999)\nexcept OSError: pass\ntime.sleep(0.02)"
    )
    loop = make_loop(*flood, folder=tiny_disk / "logs", log_cap_bytes=32 * KIBIBYTE)
    loop.start()
    (tiny_disk / "other").write_bytes(b"")
    subprocess.run(["sh", "-c", f"cat /dev/zero > '{tiny_disk}/other' 2>/dev/null"], check=False)
    completed = loop.status().runs_completed
    await_status(loop, lambda status: status.runs_completed > completed + 3, 30)
    report = loop.stop(grace_seconds=1)
    assert report.survivors == ()
