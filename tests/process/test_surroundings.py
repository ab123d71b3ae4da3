"""What a training gets, and what it does not: arguments, environment, descriptors, signals."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from zoo.helpers import MakeTree, finish, python

from conftest import ROOT
from wattest.errors import ProcessError, SpawnError
from wattest.process import Command, Tree

pytest_plugins = ["zoo.fixtures"]


def test_output_goes_to_the_log_which_is_emptied_first(make_tree: MakeTree, log: Path) -> None:
    log.write_text("of an earlier run\n")
    tree = make_tree("sh", "-c", "echo out; echo error >&2")
    tree.start()
    finish(tree)
    assert log.read_text() == "out\nerror\n"


def test_arguments_reach_the_program_untouched(make_tree: MakeTree, log: Path) -> None:
    hostile = ["; rm -rf /", "$(id)", "a 'b' \"c\"", "two\nlines", "", "ü\udcff", "--", "*"]
    tree = make_tree(*python("import sys; print(ascii(sys.argv[1:]))"), *hostile)
    tree.start()
    finish(tree)
    assert log.read_text().strip() == ascii(hostile)


def test_a_huge_command_and_environment_arrive(make_tree: MakeTree, log: Path) -> None:
    many = ["x" * 100_000 for _ in range(8)]
    code = "import os, sys; print(sum(map(len, sys.argv)), len(os.environ['BIG']))"
    tree = make_tree(*python(code), *many, environment={"BIG": "y" * 100_000})
    tree.start()
    finish(tree)
    assert [int(number) for number in log.read_text().split()] == [800_002, 100_000]


def test_the_environment_is_the_given_one_and_the_owner_s_mark(
    make_tree: MakeTree, log: Path
) -> None:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    tree = make_tree(*python(code), environment={"A": "b=c\nd", "WATTEST_ROLE": "guard"})
    tree.start()
    finish(tree)
    told = json.loads(log.read_text())
    mark = told.pop("WATTEST_OWNER").split(":")
    assert int(mark[0]) == os.getpid()
    assert mark[2] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    del told["WATTEST_TREE"]
    told.pop("LC_CTYPE", None)  # set by Python itself, in a C locale
    assert told == {"A": "b=c\nd", "PATH": os.environ["PATH"]}


def test_guard_and_supervisor_carry_the_mark_too(make_tree: MakeTree) -> None:
    tree = make_tree("true")
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


def test_a_training_inherits_nothing_of_ours(
    make_tree: MakeTree, log: Path, tmp_path: Path
) -> None:
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        tree = make_tree(*python(SURROUNDINGS))
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


def test_sigpipe_ends_a_shell_pipeline_as_usual(make_tree: MakeTree, log: Path) -> None:
    tree = make_tree("bash", "-c", "yes | head -n 1; echo ${PIPESTATUS[0]}")
    tree.start()
    finish(tree)
    assert log.read_text().split() == ["y", str(128 + signal.SIGPIPE)]


def test_a_missing_program_is_named_with_the_path_that_was_searched(
    make_tree: MakeTree, tmp_path: Path
) -> None:
    """Also where the path leads through a folder of somebody else's; to root each is open."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    for path in (os.environ["PATH"], f"{closed}:/bin"):
        with pytest.raises(SpawnError, match=r"'no-such-program'.*no such program in PATH="):
            make_tree("no-such-program", environment={"PATH": path}).start()


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
    text: str, mode: int, message: str, make_tree: MakeTree, tmp_path: Path
) -> None:
    tree = make_tree(script(tmp_path, text, mode))
    with pytest.raises(SpawnError, match=message):
        tree.start()
    assert tree.pids() == ()
    assert tree.stop().was_running is False


def test_a_missing_script_a_folder_and_a_missing_working_folder_are_told_apart(
    make_tree: MakeTree, tmp_path: Path
) -> None:
    with pytest.raises(SpawnError, match="no such file"):
        make_tree("./train.sh").start()
    with pytest.raises(SpawnError, match="it is a folder"):
        make_tree(str(tmp_path)).start()
    command = Command(("true",), tmp_path / "gone", {"PATH": os.environ["PATH"]})
    with Tree(command, tmp_path / "log") as tree, pytest.raises(SpawnError, match="working folder"):
        tree.start()


def test_path_is_searched_as_a_shell_does(make_tree: MakeTree, log: Path, tmp_path: Path) -> None:
    for folder, mode in (("denied", 0o644), ("first", 0o755), ("second", 0o755)):
        (tmp_path / folder).mkdir()
        program = tmp_path / folder / "program"
        program.write_text(f"#!/bin/sh\necho {folder}\n")
        program.chmod(mode)
    path = f"{tmp_path}/missing:{tmp_path}/denied:{tmp_path}/first:{tmp_path}/second"
    tree = make_tree("program", environment={"PATH": path})
    tree.start()
    finish(tree)
    assert log.read_text() == "first\n"
    with pytest.raises(SpawnError, match="permission denied"):
        make_tree("program", environment={"PATH": f"{tmp_path}/denied:{tmp_path}"}).start()


def test_what_no_program_can_be_given_is_a_spawn_error(make_tree: MakeTree) -> None:
    with pytest.raises(SpawnError, match="null byte"):
        make_tree("true", "a\0b").start()
    with pytest.raises(SpawnError, match="larger than the kernel takes"):
        make_tree("true", "x" * (1 << 21)).start()
    with pytest.raises(SpawnError, match="empty"):
        make_tree()
    with pytest.raises(SpawnError, match="surrogates"):
        make_tree("true", "\ud800")
    with pytest.raises(SpawnError, match="environment"):
        make_tree("true", environment={"A=B": "c"}).start()


def test_a_relative_script_is_found_from_the_working_folder(
    make_tree: MakeTree, tmp_path: Path
) -> None:
    script(tmp_path, "#!/bin/sh\nexit 4\n")
    tree = make_tree("./train.sh")
    tree.start()
    assert finish(tree).exit_code == 4


CLOSED = """
import os, sys, time
from pathlib import Path
from wattest.process import Command, Tree
command = Command(("sh", "-c", "cat; echo said"), Path("/"), dict(os.environ))
with Tree(command, Path(sys.argv[1])) as tree:
    tree.start()
    while tree.poll() is None:
        time.sleep(0.005)
"""


@pytest.mark.parametrize("streams", ["<&-", "<&- >&-", "<&- >&- 2>&-"])
def test_the_output_of_a_training_arrives_though_streams_of_ours_are_closed(
    streams: str, log: Path
) -> None:
    command = ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, "-c", CLOSED, str(log)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=True)
    assert log.read_text() == "said\n"


def test_without_descriptors_a_start_is_refused_in_words_and_none_is_lost(
    make_tree: MakeTree,
) -> None:
    make_tree("true").close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.dup(0)]
    while held[-1] < 200:
        held.append(os.dup(0))
    told = []
    for free in range(30):
        resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 1 + free, hard))
        try:
            make_tree("true").close()
        except ProcessError as error:
            told.append(str(error))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        held.append(os.dup(0))
        assert held[-1] == held[-2] + 1, "a descriptor was lost"
        os.close(held.pop())
    for descriptor in held:
        os.close(descriptor)
    assert 3 < len(told) < 30
    assert all("Too many open files" in one for one in told)


@pytest.mark.parametrize("options", ["ro", "ro,subset=pid,hidepid=2"])
def test_a_load_starts_though_proc_is_read_only_or_tells_little(
    tmp_path: Path, options: str
) -> None:
    mount = f"mount -t proc -o {options} proc /proc"
    if subprocess.run(["unshare", "--mount", "sh", "-c", mount], check=False).returncode:
        pytest.skip("no mount namespace may be made here")
    code = """if True:
        import os, sys; from pathlib import Path
        from wattest.process import Command, Loop
        folder = Path(sys.argv[1])
        with Loop(Command(("sleep", "60"), folder, dict(os.environ)), folder / "logs") as loop:
            loop.start()
    """
    command = f'{mount} && exec "$@"'
    subprocess.run(
        ["unshare", "--mount", "sh", "-c", command, "sh", sys.executable, "-c", code, tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=True,
    )
