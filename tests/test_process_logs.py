"""The logs of a load that may run for days."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wattest.process import Command, Loop, LoopStatus

MakeLoop = Callable[..., Loop]
KIBIBYTE = 1024


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def make(tmp_path: Path, folder: Path) -> Iterator[MakeLoop]:
    loops: list[Loop] = []

    def make(script: str, folder: Path = folder, **settings: object) -> Loop:
        command = Command(("sh", "-c", script), tmp_path, {"PATH": os.environ["PATH"]})
        loop = Loop(command, folder, **settings)  # type: ignore[arg-type]
        loops.append(loop)
        return loop

    yield make
    for loop in loops:
        loop.close()


def await_status(
    loop: Loop, wanted: Callable[[LoopStatus], bool], seconds: float = 10.0
) -> LoopStatus:
    deadline = time.monotonic() + seconds
    while not wanted(status := loop.status()):
        assert time.monotonic() < deadline, f"still {status}"
        time.sleep(0.01)
    return status


def test_a_log_loses_its_middle_and_says_so(make: MakeLoop, folder: Path) -> None:
    count = 20_000
    loop = make(f"seq 1 {count}; sleep 60", log_cap_bytes=16 * KIBIBYTE)
    loop.start()
    status = await_status(loop, lambda status: status.dropped_log_bytes > 0)
    time.sleep(0.3)
    log = (folder / "run_1.log").read_text()
    assert len(log) <= 16 * KIBIBYTE
    head, _, rest = log.partition("\n[wattest: ")
    marker, _, tail = rest.partition("]\n")
    assert head.startswith("1\n2\n3\n")
    assert tail.endswith(f"\n{count}\n")
    assert "capped at 16384 bytes" in marker
    dropped = int(marker.split()[0])
    status = loop.status()
    assert status.dropped_log_bytes == dropped
    written = sum(len(str(number)) + 1 for number in range(1, count + 1))
    assert len(head) + len(tail) + dropped == written
    # What is kept is whole lines.
    assert [int(line) for line in tail.split()] == list(range(int(tail.split()[0]), count + 1))


def test_a_load_that_floods_its_log_does_not_fill_the_disk_or_the_memory(
    make: MakeLoop, folder: Path
) -> None:
    cap = 256 * KIBIBYTE
    loop = make("while :; do head -c 65536 /dev/zero; sleep 0.002; done", log_cap_bytes=cap)
    loop.start()
    largest = 0
    end = time.monotonic() + 2
    while time.monotonic() < end:
        largest = max(largest, (folder / "run_1.log").stat().st_size)
        time.sleep(0.005)
    status = loop.status()
    assert status.dropped_log_bytes > 4 * cap
    # Between two looks at the log, a quarter of a second apart at most, it may run over.
    assert largest < 64 * cap
    memory = Path(f"/proc/{loop.supervisor_pid}/status").read_text()
    assert int(memory.partition("VmRSS:")[2].split()[0]) < 40_000
    loop.stop(grace_seconds=1)
    assert (folder / "run_1.log").stat().st_size <= cap


def test_a_log_that_overflows_at_the_very_end_is_capped_too(make: MakeLoop, folder: Path) -> None:
    loop = make("seq 1 20000", log_cap_bytes=16 * KIBIBYTE)
    loop.start()
    await_status(loop, lambda status: status.runs_completed >= 2)
    loop.stop()
    assert (folder / "run_1.log").stat().st_size <= 16 * KIBIBYTE
    assert (folder / "run_1.log").read_text().endswith("\n20000\n")


def test_the_oldest_logs_go_but_never_the_first_and_the_newest(
    make: MakeLoop, folder: Path
) -> None:
    loop = make("head -c 4096 /dev/zero; sleep 0.01", logs_cap_bytes=32 * KIBIBYTE)
    loop.start()
    await_status(loop, lambda status: status.deleted_logs >= 5, 30)
    loop.stop()
    status = loop.status()
    numbers = sorted(int(log.stem.removeprefix("run_")) for log in folder.glob("run_*.log"))
    assert numbers[0] == 1
    assert numbers[-1] == status.current_run
    assert numbers[1] == status.deleted_logs + 2
    assert sum(log.stat().st_size for log in folder.glob("run_*.log")) <= 32 * KIBIBYTE
    note = (folder / "dropped_logs.txt").read_text()
    assert f"deleted {status.deleted_logs} logs, run_2.log to run_{numbers[1] - 1}.log" in note
    assert "capped at 32768 bytes" in note


def test_a_log_of_an_earlier_run_is_not_taken_for_one_of_this(make: MakeLoop, folder: Path) -> None:
    folder.mkdir()
    (folder / "run_1.log").write_text("old\n")
    loop = make("echo new; sleep 60")
    loop.start()
    await_status(loop, lambda status: (folder / "run_1.log").stat().st_size > 0)
    assert (folder / "run_1.log").read_text() == "new\n"


def test_a_folder_that_goes_away_does_not_stop_the_load(
    make: MakeLoop, folder: Path, tmp_path: Path
) -> None:
    loop = make("echo output; sleep 0.02")
    loop.start()
    folder.rename(tmp_path / "moved")
    status = await_status(loop, lambda status: status.log_faults > 0)
    assert "No such file" in status.last_log_fault
    completed = status.runs_completed
    await_status(loop, lambda status: status.runs_completed > completed + 2)
    (tmp_path / "moved").rename(folder)
    run = loop.status().current_run
    await_status(loop, lambda status: status.current_run > run + 2)
    assert (folder / f"run_{run + 2}.log").read_text() == "output\n"


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


def test_a_full_disk_stops_neither_the_load_nor_its_stop(make: MakeLoop, tiny_disk: Path) -> None:
    script = f"{sys.executable} -I -S -c \"import os; os.write(1, b'x' * 99999)\"; sleep 0.02"
    loop = make(script, folder=tiny_disk / "logs", log_cap_bytes=32 * KIBIBYTE)
    loop.start()
    (tiny_disk / "other").write_bytes(b"")
    subprocess.run(["sh", "-c", f"cat /dev/zero > '{tiny_disk}/other' 2>/dev/null"], check=False)
    completed = loop.status().runs_completed
    await_status(loop, lambda status: status.runs_completed > completed + 3, 30)
    report = loop.stop(grace_seconds=1)
    assert report.survivors == ()
