"""The background load: restarts, back-off, news, and what it costs its owner."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path

import pytest
from oracle import Oracle
from zoo.helpers import MakeLoop, await_status, kilobytes, needs, voluntary_switches

from wattest.errors import ProcessError, SpawnError
from wattest.process import Loop, Rung

pytest_plugins = ["zoo.fixtures"]


def await_news(loop: Loop, seconds: float = 10.0) -> str:
    deadline = time.monotonic() + seconds
    while (news := loop.poll()) is None:
        assert time.monotonic() < deadline, "no news"
        select.select([loop.fileno()], [], [], 0.5)
    return news


def test_a_load_starts_again_and_again_with_a_log_for_each_run(
    make_loop: MakeLoop, log_folder: Path
) -> None:
    loop = make_loop("sh", "-c", "echo run $$; sleep 0.05")
    pid = loop.start()
    status = await_status(loop, lambda status: status.runs_completed >= 3)
    assert status.failures == 0
    assert status.exit_codes == {"0": status.runs_completed}
    assert status.alive_ns > status.runs_completed * 0.05e9
    assert status.current_run in (status.runs_completed, status.runs_completed + 1)
    loop.stop()
    assert (log_folder / "run_1.log").read_text() == f"run {pid}\n"
    assert (log_folder / "run_3.log").read_text().startswith("run ")
    logs = sorted(log_folder.iterdir())
    assert logs == sorted(log_folder / f"run_{number}.log" for number in range(1, len(logs) + 1))


@pytest.mark.parametrize("rung", [Rung.GUARD, Rung.CGROUP], ids=lambda rung: rung.value)
def test_there_is_no_pause_after_a_clean_end(make_loop: MakeLoop, rung: Rung) -> None:
    needs(rung)
    loop = make_loop("true", rung=rung, backoff_seconds=5)
    loop.start()
    status = await_status(loop, lambda status: status.runs_started > 40)
    assert status.gap_median_ns is not None
    assert status.gap_max_ns is not None
    # Some milliseconds; any pause of the loop's own would be the back-off of seconds.
    assert 0 < status.gap_median_ns <= status.gap_max_ns < 2e9


def test_time_alive_and_cpu_time_grow_with_the_load(make_loop: MakeLoop) -> None:
    loop = make_loop(sys.executable, "-I", "-S", "-c", "while True: pass")
    pid = loop.start()
    before = loop.status()
    time.sleep(0.5)
    after = loop.status()
    window_ns = after.now_ns - before.now_ns
    assert after.alive_ns - before.alive_ns == window_ns
    assert 0.05 < after.cpu_seconds - before.cpu_seconds <= window_ns / 1e9 + 0.05
    assert loop.pids() == (pid,)
    assert after.current_run == 1


def test_time_alive_leaves_out_the_pauses(make_loop: MakeLoop) -> None:
    loop = make_loop("sh", "-c", "sleep 0.1; exit 1", backoff_seconds=0.3)
    loop.start()
    status = await_status(loop, lambda status: status.failures == 2)
    lived_ns = status.now_ns - status.started_ns
    assert 0.2e9 <= status.alive_ns < lived_ns - 0.25e9


def test_a_load_that_fails_at_once_backs_off_and_is_news(
    make_loop: MakeLoop, log_folder: Path
) -> None:
    loop = make_loop("sh", "-c", "echo 'no data'; exit 9", backoff_seconds=0.03)
    began = time.monotonic()
    loop.start()
    news = await_news(loop)
    # 0.03 + 0.06 + 0.12 + 0.24 s of pauses lie before the fifth failure.
    assert time.monotonic() - began >= 0.45
    assert "failed 5 times in a row" in news
    assert "exit code 9" in news
    status = loop.status()
    assert status.failures == status.runs_started == 5
    assert status.exit_codes == {"9": 5}
    assert loop.poll() is None
    assert (log_folder / "run_5.log").read_text() == "no data\n"


def test_a_good_run_forgets_the_failures_before_it(make_loop: MakeLoop, tmp_path: Path) -> None:
    script = (
        "n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) > n; [ $n = 4 ] && sleep 1.05 || exit 1"
    )
    loop = make_loop("sh", "-c", script, backoff_seconds=0.03)
    loop.start()
    status = await_status(loop, lambda status: status.runs_started >= 7)
    assert status.exit_codes["0"] == 1
    # After the good run the pause is the first one again, not 0.48 s.
    assert status.gap_max_ns is not None
    assert status.gap_max_ns < 0.47e9
    # Four before it and four after it are no five in a row.
    assert "failed 5 times in a row" in await_news(loop)
    assert loop.status().failures >= 9


def test_a_load_that_ends_at_once_with_success_is_no_load_and_no_burden(
    make_loop: MakeLoop,
) -> None:
    loop = make_loop("true")
    loop.start()
    news = await_news(loop, 30)
    assert "too short to be a load" in news
    runs = loop.status().runs_started
    time.sleep(0.5)
    assert loop.status().runs_started - runs <= 3


def test_a_run_that_dies_of_a_signal_is_a_failure(make_loop: MakeLoop) -> None:
    loop = make_loop("sh", "-c", "kill -SEGV $$")
    loop.start()
    status = await_status(loop, lambda status: status.failures == 1)
    assert status.exit_codes == {"signal 11": 1}


def test_a_program_that_cannot_start_is_an_error_at_once(make_loop: MakeLoop) -> None:
    with pytest.raises(SpawnError, match="no such program"):
        make_loop("no-such-program").start()


def test_a_program_that_vanishes_is_a_failure_and_comes_back(
    make_loop: MakeLoop, tmp_path: Path
) -> None:
    program = tmp_path / "train.sh"
    program.write_text("#!/bin/sh\nsleep 0.1\n")
    program.chmod(0o755)
    loop = make_loop(str(program), backoff_seconds=0.01)
    loop.start()
    program.rename(tmp_path / "away")
    assert "No such file" in await_news(loop)
    status = loop.status()
    assert "not started" in status.exit_codes
    completed = status.runs_completed
    (tmp_path / "away").rename(program)
    await_status(loop, lambda status: status.runs_completed > completed)


def test_what_a_run_leaves_is_killed_before_the_next_one_starts(
    make_loop: MakeLoop, oracle: Oracle
) -> None:
    loop = make_loop(*oracle.argv("leaver", sys.executable))
    loop.start()
    await_status(loop, lambda status: status.runs_completed >= 4)
    alive = [one for one in oracle.sightings() if one.state not in "ZX"]
    # At most the processes of one run, of which two stay: its main, two that fork, two daemons.
    assert len(alive) <= 5
    loop.stop()
    assert oracle.sightings() == []


def test_a_load_that_ignores_sigterm_is_killed_after_its_grace(
    rung: Rung, make_loop: MakeLoop, oracle: Oracle
) -> None:
    loop = make_loop(*oracle.argv("stubborn", sys.executable), rung=rung)
    loop.start()
    oracle.await_births(3)
    report = loop.stop(grace_seconds=0.3)
    assert (report.was_running, report.sigkill_needed, report.survivors) == (True, True, ())
    assert 0.3 <= report.duration_seconds < 5
    assert oracle.sightings() == []
    assert loop.pids() == ()


def test_a_stop_starts_nothing_again_and_lets_go(make_loop: MakeLoop, log_folder: Path) -> None:
    loop = make_loop("sleep", "0.02")
    loop.start()
    status = await_status(loop, lambda status: status.runs_completed >= 2)
    assert status.failures == 0
    guard = loop.guard_pid
    loop.stop()
    logs = len(list(log_folder.iterdir()))
    assert not Path(f"/proc/{guard}").exists()
    assert not loop.stop().was_running
    assert loop.pids() == ()
    with pytest.raises(ProcessError, match="a process tree that is closed"):
        loop.status()
    assert len(list(log_folder.iterdir())) == logs


def test_a_load_is_stopped_while_it_waits_after_a_failure(make_loop: MakeLoop) -> None:
    loop = make_loop("false", backoff_seconds=30, longest_backoff_seconds=30)
    loop.start()
    await_status(loop, lambda status: status.failures == 1)
    report = loop.stop()
    assert not report.was_running
    assert report.duration_seconds < 5, "the pause of 30 s was waited for"


def test_an_owner_that_never_listens_costs_the_supervisor_nothing(make_loop: MakeLoop) -> None:
    loop = make_loop("false", backoff_seconds=0.001, longest_backoff_seconds=0.001)
    loop.start()
    await_status(loop, lambda status: status.failures > 20)
    before = kilobytes(loop.supervisor_pid, "VmRSS")
    await_status(loop, lambda status: status.failures > 200, 30)
    assert kilobytes(loop.supervisor_pid, "VmRSS") - before < 512
    assert "failed" in await_news(loop)
    assert loop.poll() is None


def test_the_death_of_the_supervisor_is_told(make_loop: MakeLoop, oracle: Oracle) -> None:
    loop = make_loop(*oracle.argv("polite", sys.executable))
    loop.start()
    oracle.await_births(3)
    os.kill(loop.supervisor_pid, signal.SIGKILL)
    assert select.select([loop.fileno()], [], [], 5)[0]
    with pytest.raises(ProcessError, match="the supervisor of a process tree died"):
        loop.poll()
    assert oracle.sightings() == []
    with pytest.raises(ProcessError):
        loop.status()
    assert loop.stop().survivors == ()


def test_the_kernel_would_rather_kill_the_load_than_us(make_loop: MakeLoop) -> None:
    loop = make_loop("sleep", "60")
    pid = loop.start()
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == min(1000, own + 200)
    assert int(Path(f"/proc/{loop.supervisor_pid}/oom_score_adj").read_text()) == own
    assert int(Path(f"/proc/{loop.guard_pid}/oom_score_adj").read_text()) == own


def test_a_supervisor_of_a_quiet_load_looks_at_its_log_four_times_a_second(
    make_loop: MakeLoop,
) -> None:
    loop = make_loop("sleep", "60")
    loop.start()
    time.sleep(0.1)
    before = voluntary_switches(loop.supervisor_pid)
    time.sleep(1)
    assert voluntary_switches(loop.supervisor_pid) - before <= 7
