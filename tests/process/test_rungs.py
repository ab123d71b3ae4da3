"""What holds a tree together, and what an ordinary user or a container grants."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from oracle import Oracle
from zoo.helpers import needs

from wattest.errors import ProcessError
from wattest.process import Command, Rung, Tree, cgroup, probe
from wattest.process.supervisor import descendants
from wattest.process.supervisor.containment import remove_cgroup

pytest_plugins = ["zoo.fixtures"]

ROOT = Path(__file__).parents[2]
NOBODY = 65534


def test_the_guard_works_everywhere_and_every_other_rung_has_its_reason() -> None:
    found = probe()
    assert found.is_available(Rung.GUARD)
    for rung in Rung:
        assert found.is_available(rung) == (found.reason_against(rung) is None)
    assert found.default is (Rung.CGROUP if found.is_available(Rung.CGROUP) else Rung.GUARD)
    assert probe() is found


def test_both_ways_to_list_descendants_agree() -> None:
    script = "sleep 60 & (sleep 61 & sleep 62) & wait"
    shell = subprocess.Popen(["bash", "-c", script])
    try:
        while len(listed := descendants.below(shell.pid, descendants.children_by_scan())) < 4:
            assert shell.poll() is None
        if descendants.kernel_lists_children():
            told = descendants.below(shell.pid, descendants.children_by_kernel)
            assert sorted(told) == sorted(listed)
        parents = dict(listed)
        assert list(parents.values()).count(shell.pid) == 2
    finally:
        for pid, _ in listed:
            os.kill(pid, 9)
        shell.kill()
        shell.wait()


CLEAR = """
import os, sys, time
from wattest.process.supervisor import containment, descendants, kernel
kernel.adopt_orphans()
if os.fork() == 0:
    os.execv(sys.argv[2], sys.argv[2:])
while open(sys.argv[-1]).read().count("\\n") < 20:
    time.sleep(0.01)
descendants.kernel_lists_children = lambda: sys.argv[1] == "kernel"
tree = descendants.Descendants(containment.Containment())
rounds = descendants.KillRounds(tree)
while True:
    tree.reap(lambda pid, status: None)
    if tree.childless:
        break
    time.sleep(rounds.advance() / 1e9)
"""


@pytest.mark.parametrize("way", ["kernel", "scan"])
def test_a_tree_is_killed_with_and_without_the_kernel_s_lists_of_children(
    way: str, oracle: Oracle
) -> None:
    if way == "kernel" and not descendants.kernel_lists_children():
        pytest.skip("this kernel does not list children (CONFIG_PROC_CHILDREN)")
    command = [sys.executable, "-c", CLEAR, way, *oracle.argv("zoo", sys.executable)]
    source = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(command, env=source, check=True, timeout=30)
    assert oracle.sightings() == []


def test_a_rung_that_is_not_to_be_had_is_an_error(tmp_path: Path) -> None:
    missing = [rung for rung in Rung if not probe().is_available(rung)]
    if not missing:
        pytest.skip("every rung works here")
    command = Command(("true",), tmp_path, {})
    with pytest.raises(ProcessError), Tree(command, tmp_path / "log", rung=missing[0]) as tree:
        tree.start()


@pytest.fixture
def ordinary_python() -> str:
    """Return a Python that user `nobody` can start."""
    if os.geteuid() != 0:
        pytest.skip("only root can become an ordinary user; the other tests are one already")
    for python in (sys.executable, "/usr/bin/python3"):
        check = "import sys; raise SystemExit(sys.version_info < (3, 10))"
        try:
            done = subprocess.run(
                [python, "-I", "-c", check], user=NOBODY, group=NOBODY, check=False, cwd="/"
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python
    pytest.skip("no Python 3.10 that an ordinary user can start")


def as_nobody(python: str, code: str, folder: Path, *prefix: str) -> str:
    """Run code against a copy of the package that user nobody can read."""
    shutil.copytree(ROOT / "src", folder / "src", dirs_exist_ok=True)
    header = "import os, sys, time\nfrom pathlib import Path\nfrom wattest.process import *\n"
    done = subprocess.run(
        [*prefix, python, "-c", header + textwrap.dedent(code)],
        user=None if prefix else NOBODY,
        group=None if prefix else NOBODY,
        extra_groups=None if prefix else [],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


STOP_A_ZOO = """
    argv = {argv!r}
    tree = Tree(Command(argv, Path("."), dict(os.environ)), Path("log"))
    tree.start()
    while len(Path(argv[-1]).read_text().split("\\n")) <= 20:
        time.sleep(0.01)
    print(tree.stop(grace_seconds=0.2).survivors)
    tree.close()
"""


def test_an_ordinary_user_leaves_nothing_either(ordinary_python: str, open_folder: Path) -> None:
    oracle = Oracle(open_folder / "zoo")
    argv = copied(oracle, ordinary_python, open_folder)
    assert as_nobody(ordinary_python, STOP_A_ZOO.format(argv=argv), open_folder) == "()\n"
    assert oracle.sightings() == []


def copied(oracle: Oracle, python: str, folder: Path) -> tuple[str, ...]:
    """Return the command of a zoo whose program lies where everybody can read it."""
    argv = list(oracle.argv("zoo", python))
    argv[3] = shutil.copy(argv[3], folder)
    return tuple(argv)


def test_a_container_without_capabilities_leaves_nothing_either(
    ordinary_python: str, open_folder: Path
) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("no setpriv to drop capabilities with")
    dropped = (setpriv, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    oracle = Oracle(open_folder / "zoo")
    argv = copied(oracle, ordinary_python, open_folder)
    code = textwrap.dedent(STOP_A_ZOO.format(argv=argv)) + "\nprint(*probe().unavailable)\n"
    told = as_nobody(ordinary_python, code, open_folder, *dropped)
    survivors, unavailable = told.splitlines()
    assert survivors == "()"
    assert "PID_NAMESPACE" in unavailable
    assert oracle.sightings() == []


def test_an_ordinary_user_is_told_why_the_other_rungs_are_not_to_be_had(
    ordinary_python: str, open_folder: Path
) -> None:
    code = """
        found = probe()
        print([rung.value for rung in Rung if found.is_available(rung)])
        print(found.reason_against(Rung.PID_NAMESPACE))
        try:
            Tree(Command(("true",), Path("."), {}), Path("log"), rung=Rung.PID_NAMESPACE).start()
        except Exception as error:
            print(type(error).__name__, error)
        try:
            Tree(Command(("true",), Path("."), {}, run_as=(0, 0)), Path("log"))
        except Exception as error:
            print(type(error).__name__, error)
    """
    told = as_nobody(ordinary_python, code, open_folder).splitlines()
    assert "'guard'" in told[0]
    assert "pid-namespace" not in told[0]
    assert "CAP_SYS_ADMIN" in told[1]
    assert told[2].startswith("SpawnError")
    assert told[3] == "ProcessError cannot run a training as user 0: only root can do that"


SETUID = """
#include <signal.h>
#include <unistd.h>
int main(void) { setuid(0); signal(SIGTERM, SIG_IGN); alarm(60); for (;;) pause(); }
"""


@pytest.fixture
def setuid_program(open_folder: Path) -> Path:
    """Return a program that becomes root and ignores SIGTERM."""
    compiler = shutil.which("cc")
    if compiler is None or os.geteuid() != 0:
        pytest.skip("a set-uid program needs root and a C compiler")
    program = open_folder / "becomes_root"
    subprocess.run(
        [compiler, "-x", "c", "-", "-o", str(program)], input=SETUID, text=True, check=True
    )
    program.chmod(0o4755)
    return program


STOP_A_SETUID_CHILD = """
    rung = Rung({rung!r})
    command = Command(("bash", "-c", "{program} & wait"), Path("."), dict(os.environ))
    with Tree(command, Path("log"), rung=rung) as tree:
        tree.start()
        def child():
            for pid in tree.pids():
                status = Path(f"/proc/{{pid}}/status").read_text()
                if "Uid:\\t0\\t0\\t0" in status:
                    return pid
        while not child():
            time.sleep(0.01)
        pid = child()
        report = tree.stop(grace_seconds=0.1, kill_seconds=0.3)
        print([one.pid for one in report.survivors] == [pid], pid, flush=True)
        os._exit(0)
"""


def test_a_setuid_child_of_an_ordinary_user_is_named_because_it_cannot_be_killed(
    ordinary_python: str, open_folder: Path, setuid_program: Path
) -> None:
    code = STOP_A_SETUID_CHILD.format(rung="guard", program=setuid_program)
    named, pid = as_nobody(ordinary_python, code, open_folder).split()
    os.kill(int(pid), 9)
    assert named == "True"


def test_a_delegated_cgroup_ends_a_setuid_child_of_an_ordinary_user(
    ordinary_python: str, open_folder: Path, setuid_program: Path
) -> None:
    needs(Rung.CGROUP)
    delegated = cgroup.own_folder() / f"delegated-{os.getpid()}"
    delegated.mkdir()
    try:
        for path in (delegated, delegated / "cgroup.procs", delegated / "cgroup.subtree_control"):
            os.chown(path, NOBODY, NOBODY)
        code = STOP_A_SETUID_CHILD.format(rung="cgroup", program=setuid_program)
        shell = (
            'echo 0 > "$1/cgroup.procs"; shift; exec setpriv --reuid 65534 --regid 65534'
            ' --clear-groups "$@"'
        )
        named, _ = as_nobody(
            ordinary_python, code, open_folder, "sh", "-c", shell, "sh", str(delegated)
        ).split()
        assert named == "False"
    finally:
        deadline = time.monotonic() + 5
        while not remove_cgroup(str(delegated)):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_user_who_may_have_no_more_processes_is_told_so_in_one_line(
    ordinary_python: str, open_folder: Path
) -> None:
    code = """
        import resource
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        command = Command(("true",), Path("/"), dict(os.environ))
        for most in range(1, 200):
            resource.setrlimit(resource.RLIMIT_NPROC, (most, hard))
            try:
                with Tree(command, Path("log")) as tree:
                    tree.start()
                break
            except Exception as error:
                print(f"{type(error).__name__}: {error}".replace(":\\n", ": "))
    """
    told = set(as_nobody(ordinary_python, code, open_folder).splitlines())
    why = "[Errno 11] Resource temporarily unavailable (no more processes: see `ulimit -u`"
    assert told
    assert all(one.startswith(("ProcessError: ", "SpawnError: ")) for one in told), told
    assert all(why in one for one in told), told


def test_without_cgroup_v2_mount_points_of_any_name_leave_the_guard(tmp_path: Path) -> None:
    odd = tmp_path / "a\rb\x0c\u2028 c\\"
    odd.mkdir()
    mount = 'umount --lazy /sys/fs/cgroup && mount -t tmpfs none "$1" && shift && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", odd]
    if subprocess.run([*command, "true"], check=False).returncode != 0:
        pytest.skip("no mount namespace may be made here, or no cgroup v2 is mounted")
    code = (
        "from wattest.process import probe; print(probe().default, *probe().unavailable.values())"
    )
    told = subprocess.check_output(
        [*command, sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        text=True,
    )
    assert told.startswith("Rung.GUARD no cgroup v2 file system is mounted")


@pytest.mark.parametrize(
    ("root", "own", "folder"),
    [
        ("/", "/", "."),
        ("/", "/a/b c", "a/b c"),
        ("/a", "/a", "."),
        ("/a", "/a/b", "b"),
        ("/..", "/../b", "b"),
        ("/a", "/ab", None),
        ("/", "/..", None),
        ("/", "/../../tmp", None),
        ("/..", "/", None),
    ],
)
def test_the_own_cgroup_lies_in_what_is_mounted_or_nowhere(
    root: str, own: str, folder: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mount = f"30 23 0:26 {root} {tmp_path} rw - cgroup2 none rw"
    files = {"/proc/self/mountinfo": [mount], "/proc/self/cgroup": ["1:cpu:/x", f"0::{own}"]}
    monkeypatch.setattr(cgroup, "_lines", files.__getitem__)
    if folder is None:
        with pytest.raises(ProcessError, match="own cgroup is not mounted under"):
            cgroup.own_folder()
    else:
        assert cgroup.own_folder() == tmp_path / folder


def test_without_proc_nothing_starts_and_what_to_do_is_said() -> None:
    command = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    if subprocess.run([*command, "true"], check=False).returncode != 0:
        pytest.skip("no mount namespace may be made here")
    told = subprocess.run(
        [*command, sys.executable, "-c", "from wattest.process import probe; probe()"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    ).stderr
    assert "ProcessError: /proc does not show this process" in told
    assert "mount a proc file system of this PID namespace there" in told
