"""One measurer per counter: a second session waits or fails with the holder's PID."""

from __future__ import annotations

import errno
import json
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fakes.powercap import PowercapTree
from livesession import LiveSession, Stage

from conftest import ROOT, Project, room_for
from wattest.energy import find_sensors
from wattest.errors import LeaseError
from wattest.machine import counters_of, lease
from wattest.machine.counters import gpu_counter, packages_lease
from wattest.machine.lease import take

TOY: dict[str, Any] = {"repo": "toy", "model": "small", "hyperparameters": {"seconds": 1.0}}


def two_campaigns(project: Project) -> Stage:
    """Return a stage whose session stays, in a project that can also run a short one."""
    stage = Stage(project)
    registry = json.loads((project.path / "config/models_config.json").read_text())
    registry["models"]["quick"] = {**registry["models"]["toy"], "path": "repos/quick"}
    project.registry(registry)
    project.program("quick", "#!/bin/sh\nsleep 0.5\necho Accuracy: 1\n")
    settings = {"max_retries": 0, "experiments": [{**TOY, "repo": "quick"}]}
    (project.path / "settings" / "second.json").write_text(json.dumps(settings))
    return stage


def test_a_second_session_fails_with_the_pid_of_the_first(project: Project, sysfs: Path) -> None:
    stage = two_campaigns(project)
    with LiveSession(project, "--sysfs", str(sysfs)) as first:
        stage.await_births(first)
        second = project.refusal("--config", "settings/second.json", "--sysfs", str(sysfs))
        second.stderr.fnmatch_lines(
            [f"ERROR: PID {first.pid} already measures on *--wait-for-counters*"]
        )
    assert project.records() == []


def test_a_session_waits_for_the_counters_and_then_runs(project: Project, sysfs: Path) -> None:
    stage = two_campaigns(project)
    with LiveSession(project, "--sysfs", str(sysfs)) as first:
        stage.await_births(first)
        second = LiveSession(
            project, "--config", "settings/second.json", "--sysfs", str(sysfs),
            "--wait-for-counters", "30",
        )  # fmt: skip
        with second:
            second.await_text(f"PID {first.pid}")
            first.send(signal.SIGTERM)
            assert first.wait() == 2
            assert second.wait() == 0, second.output()
    (success,) = [one for one in project.records() if one.get("training_success")]
    assert success["repository"] == "quick"


def test_a_lock_of_a_killed_session_never_blocks(project: Project, sysfs: Path) -> None:
    stage = two_campaigns(project)
    with LiveSession(project, "--sysfs", str(sysfs)) as first:
        stage.await_births(first)
        first.send(signal.SIGKILL)
        first.wait()
        second = project.run_here("--config", "settings/second.json", "--sysfs", str(sysfs))
    assert second.ret == 0, second.stdout.str()


def test_sessions_on_different_counters_do_not_meet(
    project: Project, sysfs: Path, tmp_path: Path
) -> None:
    stage = two_campaigns(project)
    (tmp_path / "none").mkdir()
    with LiveSession(project, "--sysfs", str(sysfs)) as first:
        stage.await_births(first)
        second = project.run_here(
            "--config", "settings/second.json", "--sysfs", str(tmp_path / "none")
        )
    assert second.ret == 0, second.stdout.str()


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder for the locks of this test."""
    monkeypatch.setenv("WATTEST_LOCK_DIR", str(tmp_path / "locks"))
    return tmp_path / "locks"


def test_a_session_that_gets_one_counter_but_not_the_other_holds_none(locks: Path) -> None:
    held = take(["b"])
    with pytest.raises(LeaseError, match=f"PID {os.getpid()} already measures on b"):
        take(["a", "b"])
    take(["a"]).close()
    held.close()
    take(["a", "b"]).close()


def test_one_tree_by_two_paths_is_one_counter(tmp_path: Path) -> None:
    tree, other = PowercapTree(tmp_path / "sys"), PowercapTree(tmp_path / "other")
    tree.add_package()
    other.add_package()
    (tmp_path / "host").symlink_to("sys")
    assert packages_lease(tmp_path / "host") == packages_lease(tmp_path / "sys")
    assert packages_lease(tmp_path / "other") != packages_lease(tmp_path / "sys")


def test_names_of_counters_cannot_leave_the_folder_of_the_locks(locks: Path) -> None:
    leases = take(["../../outside", "/sys/x:cpu-packages", "a\nb"])
    assert len(list(locks.iterdir())) == 3
    leases.close()


def test_a_link_in_the_place_of_a_lock_is_not_followed(locks: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("content")
    locks.mkdir()
    (locks / "cpu.lock").symlink_to(precious)
    with pytest.raises(LeaseError, match="cannot be opened"):
        take(["cpu"])
    assert precious.read_text() == "content"


def taken_as(uid: int) -> bool:
    """Tell whether another user gets the lock, from a process of that user."""
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            os.setuid(uid)
            take(["cpu"]).close()
            code = 0
        except LeaseError as error:
            code = 1 if f"PID {os.getppid()} already measures" in str(error) else 3
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 1), code
    return code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_locks_hold_between_users(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("WATTEST_LOCK_DIR", f"{folder}/locks")
        held = take(["cpu"])
        assert not taken_as(nobody)
        held.close()
        assert taken_as(nobody)
        (Path(folder) / "locks" / "cpu.lock").unlink()
        assert taken_as(nobody)
        take(["cpu"]).close()


# Tries to lease a package of a tree, in a process of its own with its own temporary folder.
_LEASE_A_PACKAGE = """
import sys; from pathlib import Path
from wattest.energy import find_sensors
from wattest.machine import counters_of, take
root = Path(sys.argv[1])
with find_sensors(root) as sensors:
    take(counters_of(sensors.findings, root))
"""


@pytest.mark.parametrize("around", [[], ["unshare", "--mount"]])
def test_another_temporary_folder_or_mount_namespace_is_no_way_around_a_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, around: list[str]
) -> None:
    monkeypatch.delenv("WATTEST_LOCK_DIR", raising=False)
    if around and subprocess.run([*around, "true"], check=False).returncode != 0:
        pytest.skip("no mount namespace may be made here")
    PowercapTree(tmp_path / "sys").add_package()
    (tmp_path / "tmp").mkdir()
    command = [*around, sys.executable, "-c", _LEASE_A_PACKAGE, str(tmp_path / "sys")]
    environment = {"TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(ROOT / "src")}
    with find_sensors(tmp_path / "sys") as sensors:
        held = take(counters_of(sensors.findings, tmp_path / "sys"))
    refused = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert f"PID {os.getpid()} already measures on intel-rapl:0" in refused.stderr
    held.close()
    subprocess.run(command, env={**os.environ, **environment}, check=True)


def test_a_worker_keeps_its_counter_though_its_controller_is_gone(tmp_path: Path) -> None:
    for name in ("vendor", "device"):
        file = tmp_path / "bus/pci/devices/0000:3b:00.0" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("0x10de\n")
    gpu = gpu_counter("GPU-1", "00000000:3B:00.0", tmp_path)
    controller = take([gpu.reserve()])
    worker = take([gpu.use()])
    with pytest.raises(LeaseError, match="already measures on GPU-1:"):
        take(gpu.whole())
    controller.close()
    with pytest.raises(LeaseError, match=r"already measures on GPU-1 \(in use\)"):
        take(gpu.whole())
    worker.close()
    take(gpu.whole()).close()


def test_a_child_that_was_forked_keeps_no_lease_and_lets_none_go(locks: Path) -> None:
    """As the processes of a pool do, which outlive the test that has begun them."""
    closed, closing = os.pipe()
    stay, end = os.pipe()
    held, other = take(["counter"]), take(["other"])
    child = os.fork()
    if child == 0:
        held.close()
        os.write(closing, b".")
        os.close(end)
        os.read(stay, 1)
        os._exit(0)
    try:
        os.read(closed, 1)
        with pytest.raises(LeaseError, match=f"PID {os.getpid()} already measures on counter"):
            take(["counter"])
        other.close()
        take(["other"]).close()
    finally:
        held.close()
        for descriptor in (closed, closing, stay, end):
            os.close(descriptor)
        os.waitpid(child, 0)


def test_what_this_process_holds_itself_is_not_waited_for(locks: Path) -> None:
    waited: list[str] = []
    with take(["counter"]), pytest.raises(LeaseError):
        take(["counter"], 1.0, waited.append)
    assert waited == []


def test_who_waits_for_a_pid_of_its_own_in_another_namespace_does_wait(
    locks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a holder in another container nothing but its note is known, and there it may be PID 7."""
    monkeypatch.setattr(lease, "_holder", lambda descriptor: None)
    waited: list[str] = []
    with take(["counter"]), pytest.raises(LeaseError):
        take(["counter"], 0.1, waited.append)
    assert len(waited) == 1


@pytest.mark.parametrize("note", ["", "\x1b[31m17\n", "x" * 200])
def test_a_holder_that_cannot_be_named_is_told_all_the_same(
    locks: Path, monkeypatch: pytest.MonkeyPatch, note: str
) -> None:
    monkeypatch.setattr(lease, "_holder", lambda descriptor: None)
    told = "^a session of another PID namespace already measures on counter: "
    with take(["counter"]):
        (locks / "counter.lock").write_text(note)
        with pytest.raises(LeaseError, match=told):
            take(["counter"])


def test_a_full_disk_refuses_no_lease(locks: Path) -> None:
    with room_for(0), take(["counter"]), pytest.raises(LeaseError, match="already measures"):
        take(["counter"])
    take(["counter"]).close()


def test_a_folder_without_locks_is_told_with_the_remedy(
    locks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(LeaseError, match=r"counter\.lock cannot be locked: No locks .*LOCK_DIR"):
        take(["counter"])


def test_a_file_system_without_modes_holds_locks(
    locks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    monkeypatch.setattr(Path, "chmod", refuse)
    take(["counter"]).close()


def test_users_who_cannot_use_the_same_folders_meet_in_one_that_they_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATTEST_LOCK_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    name = f"counter-of-{tmp_path.name}"
    with take([name]):
        monkeypatch.setenv("WATTEST_LOCK_DIR", str(tmp_path / "wattest-locks"))
        with pytest.raises(LeaseError, match="already measures"):
            take([name])


def test_without_any_temporary_folder_the_remedy_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.delenv("WATTEST_LOCK_DIR", raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(LeaseError, match=r"in /run/lock/wattest; name a folder in WATTEST_LOCK"):
        take(["counter"])


def test_a_gpu_behind_a_volume_management_device_is_its_own(tmp_path: Path) -> None:
    for domain in ("0000", "10000"):
        device = tmp_path / f"bus/pci/devices/{domain}:e1:00.0"
        device.mkdir(parents=True)
        (device / "vendor").touch()
    far = gpu_counter("GPU-1", "00010000:E1:00.0", tmp_path)
    assert far.first == tmp_path / "bus/pci/devices/10000:e1:00.0/vendor"
