"""One training under supervision: its exit, its surroundings, its stop."""

from __future__ import annotations

import json
import os
import select
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from oracle import Oracle, own_zombies

from wattest.errors import ProcessError, SpawnError
from wattest.process import Command, Exit, Rung, Tree, probe

MakeTree = Callable[..., Tree]


@pytest.fixture(params=list(Rung), ids=lambda rung: rung.value)
def rung(request: pytest.FixtureRequest) -> Rung:
    rung: Rung = request.param
    reason = probe().reason_against(rung)
    if reason:
        pytest.skip(reason)
    return rung


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeTree]:
    """Make trees that are closed at the end."""
    trees: list[Tree] = []

    def make(*argv: str, environment: dict[str, str] | None = None, **settings: object) -> Tree:
        command = Command(argv, tmp_path, {"PATH": os.environ["PATH"], **(environment or {})})
        tree = Tree(command, tmp_path / "training.log", **settings)  # type: ignore[arg-type]
        trees.append(tree)
        return tree

    yield make
    for tree in trees:
        tree.close()
    assert own_zombies() == []


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "training.log"


def finish(tree: Tree, seconds: float = 10.0) -> Exit:
    """Wait as a sampling loop does."""
    deadline = time.monotonic() + seconds
    while (exit := tree.poll()) is None:
        assert time.monotonic() < deadline, "the training did not end"
        select.select([tree.fileno()], [], [], 0.5)
    return exit


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", code)


def await_text(log: Path, text: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while text not in log.read_text():
        assert time.monotonic() < deadline, f"no {text!r} in {log.read_text()!r}"
        time.sleep(0.002)


def test_an_exit_code_comes_back_with_times_and_usage(make: MakeTree, rung: Rung) -> None:
    tree = make(
        *python("import time; x = bytearray(50 << 20); time.sleep(0.2); raise SystemExit(7)"),
        rung=rung,
    )
    before_ns = time.monotonic_ns()
    tree.start()
    exit = finish(tree)
    assert (exit.exit_code, exit.signal, exit.leftovers_killed) == (7, None, 0)
    assert before_ns < exit.started_ns < exit.ended_ns < time.monotonic_ns()
    assert 0.2 < (exit.ended_ns - exit.started_ns) / 1e9 < 2
    assert exit.user_cpu_seconds + exit.system_cpu_seconds > 0
    assert exit.max_rss_bytes > 50 << 20


def test_a_signal_is_told_apart_from_an_exit_code(make: MakeTree) -> None:
    tree = make(*python("import os; os.kill(os.getpid(), 11)"))
    tree.start()
    exit = finish(tree)
    assert (exit.exit_code, exit.signal) == (None, signal.SIGSEGV)


def test_the_exit_is_the_same_however_often_it_is_asked_for(make: MakeTree) -> None:
    tree = make("true")
    tree.start()
    exit = finish(tree)
    assert tree.poll() is exit
    tree.close()
    assert tree.poll() is exit


def test_nothing_runs_before_start(make: MakeTree, log: Path) -> None:
    tree = make("sh", "-c", "echo ran")
    assert tree.pids() == ()
    assert tree.poll() is None
    tree.close()
    assert log.read_text() == ""


def test_start_is_quick_because_the_supervisor_waits_already(make: MakeTree) -> None:
    trees = [make("sleep", "30") for _ in range(9)]
    seconds = []
    for tree in trees:
        began = time.monotonic()
        tree.start()
        seconds.append(time.monotonic() - began)
        tree.close()
    # Some milliseconds; the bound allows for a machine that does other things too.
    assert statistics.median(seconds) < 0.03


def test_output_goes_to_the_log_which_is_emptied_first(make: MakeTree, log: Path) -> None:
    log.write_text("of an earlier run\n")
    tree = make("sh", "-c", "echo out; echo error >&2")
    tree.start()
    finish(tree)
    assert log.read_text() == "out\nerror\n"


def test_arguments_reach_the_program_untouched(make: MakeTree, log: Path) -> None:
    hostile = ["; rm -rf /", "$(id)", "a 'b' \"c\"", "two\nlines", "", "ü\udcff", "--", "*"]
    tree = make(*python("import sys; print(ascii(sys.argv[1:]))"), *hostile)
    tree.start()
    finish(tree)
    assert log.read_text().strip() == ascii(hostile)


def test_a_huge_command_and_environment_arrive(make: MakeTree, log: Path) -> None:
    many = ["x" * 100_000 for _ in range(8)]
    code = "import os, sys; print(sum(map(len, sys.argv)), len(os.environ['BIG']))"
    tree = make(*python(code), *many, environment={"BIG": "y" * 100_000})
    tree.start()
    finish(tree)
    assert [int(number) for number in log.read_text().split()] == [800_002, 100_000]


def test_the_environment_is_the_given_one_and_the_owner_s_mark(make: MakeTree, log: Path) -> None:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    tree = make(*python(code), environment={"A": "b=c\nd", "WATTEST_ROLE": "guard"})
    tree.start()
    finish(tree)
    told = json.loads(log.read_text())
    mark = told.pop("WATTEST_OWNER").split(":")
    assert int(mark[0]) == os.getpid()
    assert mark[2] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    del told["WATTEST_TREE"]
    told.pop("LC_CTYPE", None)  # set by Python itself, in a C locale
    assert told == {"A": "b=c\nd", "PATH": os.environ["PATH"]}


def test_guard_and_supervisor_carry_the_mark_too(make: MakeTree) -> None:
    tree = make("true")
    for pid in (tree.guard_pid, tree.supervisor_pid):
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert f"WATTEST_OWNER={os.getpid()}:".encode() in environment


SURROUNDINGS = """
import json, os, resource, signal
ignored = [int(n) for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN]
print(json.dumps({
    "ignored": ignored,
    "blocked": [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    "descriptors": sorted(os.listdir("/proc/self/fd")),
    "stdin": os.readlink("/proc/self/fd/0"),
    "is_leader": os.getsid(0) == os.getpid() == os.getpgrp(),
    "cwd": os.getcwd(),
    "pid": os.getpid(),
    "umask": os.umask(0),
}))
"""


def test_a_training_inherits_nothing_of_ours(make: MakeTree, log: Path, tmp_path: Path) -> None:
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        tree = make(*python(SURROUNDINGS))
        pid = tree.start()
        finish(tree)
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(leaked)
    told = json.loads(log.read_text())
    # Python itself ignores SIGPIPE and SIGXFSZ; 3 is the listing's own descriptor.
    assert set(told["ignored"]) <= {signal.SIGPIPE, signal.SIGXFSZ}
    assert told["blocked"] == []
    assert told["descriptors"] == ["0", "1", "2", "3"]
    assert told["stdin"] == "/dev/null"
    assert told["is_leader"]
    assert told["cwd"] == str(tmp_path)
    assert told["pid"] == pid
    umask = os.umask(0)
    os.umask(umask)
    assert told["umask"] == umask


def test_sigpipe_ends_a_shell_pipeline_as_usual(make: MakeTree, log: Path) -> None:
    tree = make("bash", "-c", "yes | head -n 1; echo ${PIPESTATUS[0]}")
    tree.start()
    finish(tree)
    assert log.read_text().split() == ["y", str(128 + signal.SIGPIPE)]


def test_pids_are_host_pids_of_the_whole_tree(make: MakeTree, rung: Rung) -> None:
    tree = make("bash", "-c", "sleep 60 & sleep 61 & (setsid sleep 62 &) ; wait", rung=rung)
    pid = tree.start()
    deadline = time.monotonic() + 5
    while sum("sleep 6" in command(one) for one in tree.pids()) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert pid in tree.pids()
    assert len(tree.pids()) == 4
    report = tree.stop(grace_seconds=0)
    assert (report.was_running, report.sigkill_needed, report.survivors) == (True, True, ())
    assert tree.pids() == ()


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def test_a_pid_namespace_has_a_proc_of_its_own(make: MakeTree, log: Path) -> None:
    reason = probe().reason_against(Rung.PID_NAMESPACE)
    if reason:
        pytest.skip(reason)
    code = "import os; print(os.getpid(), os.readlink('/proc/self'), len(os.listdir('/proc')))"
    tree = make(*python(code), rung=Rung.PID_NAMESPACE)
    pid = tree.start()
    finish(tree)
    inside, own, _ = log.read_text().split()
    assert inside == own != str(pid)
    assert Path("/proc/self").readlink().name == str(os.getpid())


BUSY = """
import os, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
for _ in range(2):
    if os.fork() == 0:
        if os.fork():
            os._exit(0)
        burn(0.1)
        os._exit(0)
burn(0.1)
print("burnt", flush=True)
time.sleep({sleep})
"""


def test_cpu_time_is_that_of_the_whole_tree(make: MakeTree, rung: Rung, log: Path) -> None:
    tree = make(*python(BUSY.replace("{sleep}", "0.5")), rung=rung)
    tree.start()
    await_text(log, "burnt")
    readings = []
    deadline = time.monotonic() + 5
    while not readings or readings[-1] < 0.3:
        assert time.monotonic() < deadline, f"CPU time stays at {readings[-1]}"
        readings.append(tree.cpu_seconds())
        time.sleep(0.05)
    assert readings == sorted(readings)
    exit = finish(tree)
    total = exit.user_cpu_seconds + exit.system_cpu_seconds
    assert 0.3 <= total < 0.7
    assert tree.cpu_seconds() == total


def test_orphans_are_killed_when_the_main_process_has_ended(
    make: MakeTree, rung: Rung, tmp_path: Path
) -> None:
    oracle = Oracle(tmp_path)
    tree = make(*oracle.argv("leaver", sys.executable), rung=rung)
    tree.start()
    exit = finish(tree)
    assert (exit.exit_code, exit.leftovers_killed) == (0, 2)
    assert oracle.sightings() == []
    assert tree.stop().was_running is False


def test_an_orphan_that_ends_soon_may_finish_its_output(make: MakeTree, log: Path) -> None:
    tree = make("bash", "-c", "(sleep 0.03; echo late) & exit 0", linger_seconds=2)
    tree.start()
    exit = finish(tree)
    assert exit.leftovers_killed == 0
    assert log.read_text() == "late\n"
    assert exit.ended_ns - exit.started_ns < 1e9


def test_the_window_ends_with_the_training_and_not_with_the_clean_up(make: MakeTree) -> None:
    tree = make("bash", "-c", "sleep 60 & exit 0", linger_seconds=0.5)
    tree.start()
    exit = finish(tree)
    assert exit.leftovers_killed == 1
    assert exit.ended_ns - exit.started_ns < 0.4e9
    assert time.monotonic_ns() - exit.ended_ns >= 0.5e9


def test_a_polite_tree_ends_within_fifty_milliseconds(make: MakeTree, tmp_path: Path) -> None:
    seconds = []
    for _ in range(5):
        oracle = Oracle(tmp_path)
        tree = make(*oracle.argv("polite", sys.executable))
        tree.start()
        oracle.await_births(3)
        report = tree.stop()
        assert (report.was_running, report.sigkill_needed, report.survivors) == (True, False, ())
        assert report.signalled == 3
        assert oracle.sightings() == []
        seconds.append(report.duration_seconds)
    assert statistics.median(seconds) < 0.05


def test_a_tree_that_ignores_sigterm_gets_its_grace_and_not_much_more(
    make: MakeTree, rung: Rung, tmp_path: Path
) -> None:
    oracle = Oracle(tmp_path)
    tree = make(*oracle.argv("stubborn", sys.executable), rung=rung)
    tree.start()
    oracle.await_births(3)
    report = tree.stop(grace_seconds=0.3)
    assert report.sigkill_needed
    assert report.survivors == ()
    assert 0.3 <= report.duration_seconds < 0.4
    assert oracle.sightings() == []
    exit = tree.poll()
    assert exit is not None
    assert exit.signal == signal.SIGKILL


def test_a_program_may_clean_up_with_helpers_in_its_grace(make: MakeTree, log: Path) -> None:
    script = "trap 'sleep 0.3; echo saved; exit 5' TERM; echo up; while :; do sleep 0.05; done"
    tree = make("bash", "-c", script)
    tree.start()
    await_text(log, "up")
    report = tree.stop(grace_seconds=5)
    assert not report.sigkill_needed
    exit = tree.poll()
    assert exit is not None
    assert exit.exit_code == 5
    # The helper that was running was told to end, as everybody was; the new one was not.
    assert log.read_text() == "up\nTerminated\nsaved\n"


def test_stopping_again_is_harmless(make: MakeTree) -> None:
    tree = make("sleep", "60")
    tree.start()
    assert tree.stop().was_running
    assert not tree.stop().was_running
    tree.close()
    assert not tree.stop().was_running


def test_stopping_before_the_start_is_harmless_and_final(make: MakeTree) -> None:
    tree = make("sleep", "60")
    assert tree.stop().was_running is False


def test_a_second_interrupt_shortens_the_grace(make: MakeTree, tmp_path: Path) -> None:
    oracle = Oracle(tmp_path)
    tree = make(*oracle.argv("stubborn", sys.executable))
    tree.start()
    oracle.await_births(3)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        tree.stop(grace_seconds=30)
    report = tree.stop(grace_seconds=0)
    assert report.was_running
    assert report.duration_seconds < 1
    assert oracle.sightings() == []


def test_a_tree_that_was_forgotten_dies(tmp_path: Path) -> None:
    oracle = Oracle(tmp_path)
    environment = {"PATH": os.environ["PATH"]}
    command = Command(oracle.argv("zoo", sys.executable), tmp_path, environment)
    forget_a_tree(command, tmp_path / "forgotten.log", oracle)
    assert oracle.sightings() == []
    assert own_zombies() == []


def forget_a_tree(command: Command, log: Path, oracle: Oracle) -> None:
    tree = Tree(command, log)
    tree.start()
    oracle.await_births(20)


def test_a_fork_of_the_owner_cannot_hold_or_end_the_tree(make: MakeTree) -> None:
    tree = make("sleep", "60")
    pid = tree.start()
    fork = os.fork()
    if fork == 0:
        tree.close()
        os._exit(0)
    os.waitpid(fork, 0)
    assert tree.pids() == (pid,)
    holder = os.fork()
    if holder == 0:
        time.sleep(30)
        os._exit(0)
    try:
        began = time.monotonic()
        tree.close()
        assert time.monotonic() - began < 2
        assert not Path(f"/proc/{pid}").exists()
    finally:
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)


@pytest.mark.parametrize("victim", ["guard_pid", "supervisor_pid"])
def test_the_death_of_guard_or_supervisor_is_told_when_the_tree_is_dead(
    victim: str, make: MakeTree, tmp_path: Path
) -> None:
    oracle = Oracle(tmp_path)
    tree = make(*oracle.argv("zoo", sys.executable))
    tree.start()
    oracle.await_births(20)
    os.kill(getattr(tree, victim), signal.SIGKILL)
    with pytest.raises(ProcessError, match=victim.removesuffix("_pid")):
        finish(tree)
    assert oracle.sightings() == []
    assert tree.pids() == ()
    assert tree.stop().survivors == ()


def test_the_death_of_both_is_told_when_the_marked_tree_is_dead(
    make: MakeTree, tmp_path: Path
) -> None:
    oracle = Oracle(tmp_path)
    tree = make(*oracle.argv("stubborn", sys.executable))
    tree.start()
    oracle.await_births(3)
    os.kill(tree.guard_pid, signal.SIGSTOP)
    for pid in (tree.supervisor_pid, tree.guard_pid):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(ProcessError, match="guard and supervisor"):
        finish(tree)
    assert [one for one in oracle.await_end() if one.state not in "ZX"] == []


def test_a_supervisor_that_does_not_answer_is_overruled(make: MakeTree, tmp_path: Path) -> None:
    oracle = Oracle(tmp_path)
    tree = make(*oracle.argv("stubborn", sys.executable))
    tree.start()
    oracle.await_births(3)
    os.kill(tree.supervisor_pid, signal.SIGSTOP)
    with pytest.raises(ProcessError, match="did not answer"):
        tree.cpu_seconds()
    tree.close()
    assert oracle.await_end() == []


def test_a_training_that_kills_its_supervisor_takes_itself_along(
    make: MakeTree, tmp_path: Path
) -> None:
    oracle = Oracle(tmp_path)
    tree = make(*oracle.argv("killer-of-parent", sys.executable))
    tree.start()
    with pytest.raises(ProcessError, match="supervisor"):
        finish(tree)
    assert oracle.sightings() == []


def test_an_owner_that_is_gone_already_is_an_error(make: MakeTree) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(ProcessError, match=f"owner PID {gone.pid} is gone"):
        make("true", owners=[gone.pid])


def test_a_log_that_cannot_be_written_is_an_error_before_anything_runs(tmp_path: Path) -> None:
    command = Command(("true",), tmp_path, {})
    with pytest.raises(ProcessError, match="No such file or directory"):
        Tree(command, tmp_path / "missing" / "training.log")
    assert own_zombies() == []


def test_a_tree_is_started_only_once(make: MakeTree) -> None:
    tree = make("true")
    tree.start()
    with pytest.raises(ProcessError, match="only once"):
        tree.start()


def test_an_interrupt_while_a_tree_comes_up_leaves_no_guard(tmp_path: Path) -> None:
    code = f"""
import os, signal, sys, threading, time
from pathlib import Path
from wattest.process import Command, Tree
command = Command(("true",), Path({str(tmp_path)!r}), {{}})
delay = float(sys.argv[1])
try:
    threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
    tree = Tree(command, Path({str(tmp_path)!r}, "log"))
    time.sleep(5)
except KeyboardInterrupt:
    tree = None
deadline = time.monotonic() + 5
def children():
    pids = [p for p in os.listdir("/proc") if p.isdigit()]
    stats = []
    for pid in pids:
        try:
            stats.append(Path("/proc", pid, "stat").read_text().rpartition(")")[2].split())
        except OSError:
            pass
    return [stat for stat in stats if stat[1] == str(os.getpid())]
while children():
    assert time.monotonic() < deadline, children()
    time.sleep(0.01)
"""
    source = Path(__file__).parents[1] / "src"
    for delay in (0.0, 0.002, 0.01, 0.02, 0.1):
        run = [sys.executable, "-c", code, str(delay)]
        done = subprocess.run(run, env={**os.environ, "PYTHONPATH": str(source)}, check=False)
        assert done.returncode == 0, f"after {delay} s"


def test_a_missing_program_is_named_with_the_path_that_was_searched(make: MakeTree) -> None:
    with pytest.raises(SpawnError, match=r"'no-such-program'.*no such program in PATH="):
        make("no-such-program").start()


def script(folder: Path, text: str, mode: int = 0o755) -> str:
    path = folder / "train.sh"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("#!/bin/sh\n", 0o644, "chmod \\+x"),
        ("echo no first line\n", 0o755, "#!/bin/sh"),
        ("#!/no/such/python -u\n", 0o755, "'/no/such/python -u' of its first line does not exist"),
        ("#!/bin/sh\r\necho\r\n", 0o755, "carriage return"),
    ],
)
def test_a_script_that_cannot_run_says_why(
    text: str, mode: int, message: str, make: MakeTree, tmp_path: Path
) -> None:
    tree = make(script(tmp_path, text, mode))
    with pytest.raises(SpawnError, match=message):
        tree.start()
    assert tree.pids() == ()
    assert tree.stop().was_running is False


def test_a_missing_script_a_folder_and_a_missing_working_folder_are_told_apart(
    make: MakeTree, tmp_path: Path
) -> None:
    with pytest.raises(SpawnError, match="no such file"):
        make("./train.sh").start()
    with pytest.raises(SpawnError, match="it is a folder"):
        make(str(tmp_path)).start()
    command = Command(("true",), tmp_path / "gone", {"PATH": os.environ["PATH"]})
    with Tree(command, tmp_path / "log") as tree, pytest.raises(SpawnError, match="working folder"):
        tree.start()


def test_what_no_program_can_be_given_is_a_spawn_error(make: MakeTree) -> None:
    with pytest.raises(SpawnError, match="null byte"):
        make("true", "a\0b").start()
    with pytest.raises(SpawnError, match="larger than the kernel takes"):
        make("true", "x" * (1 << 21)).start()
    with pytest.raises(SpawnError, match="empty"):
        make()
    with pytest.raises(SpawnError, match="surrogates"):
        make("true", "\ud800")
    with pytest.raises(SpawnError, match="environment"):
        make("true", environment={"A=B": "c"}).start()


def test_a_relative_script_is_found_from_the_working_folder(make: MakeTree, tmp_path: Path) -> None:
    script(tmp_path, "#!/bin/sh\nexit 4\n")
    tree = make("./train.sh")
    tree.start()
    assert finish(tree).exit_code == 4


def test_a_flood_of_output_costs_the_owner_nothing(make: MakeTree, log: Path) -> None:
    tree = make("sh", "-c", "head -c 100000000 /dev/zero")
    before = own_peak_kilobytes()
    tree.start()
    assert finish(tree, 30).exit_code == 0
    assert log.stat().st_size == 100_000_000
    assert own_peak_kilobytes() - before < 4096


def own_peak_kilobytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def test_guard_and_supervisor_use_no_cpu_while_a_training_runs(make: MakeTree) -> None:
    tree = make("sleep", "60")
    tree.start()
    time.sleep(0.05)
    before = [ticks_and_switches(pid) for pid in (tree.guard_pid, tree.supervisor_pid)]
    time.sleep(1)
    after = [ticks_and_switches(pid) for pid in (tree.guard_pid, tree.supervisor_pid)]
    assert before == after


def ticks_and_switches(pid: int) -> tuple[int, int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    switches = int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return int(fields[11]) + int(fields[12]), switches
