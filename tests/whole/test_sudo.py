"""Under sudo, what a session leaves belongs to who called it."""

from __future__ import annotations

import os
import pwd
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
from livesession import LiveSession

from conftest import Project

TOY: dict[str, Any] = {"repo": "toy", "model": "small", "hyperparameters": {"seconds": 0.2}}
OVER_LOAD = {"foreground": TOY, "background": {**TOY, "repo": "busy"}}
SUDO = {"SUDO_UID": "12345", "SUDO_GID": "12346"}
# Who called sudo cannot enter pytest's own temporary folders.
AS_ROOT = ("--run-as", "root")
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: other users")


@is_root
@pytest.mark.usefixtures("project")
def test_trainings_run_as_the_user_asked_for_and_results_go_to_who_called_sudo() -> None:
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        # Not below pytest's own temporary folders, which other users cannot enter.
        home = Path(folder) / "project"
        home.mkdir()
        open_project = Project(home)
        user = (
            "#!/bin/sh\necho user $(id -u) group $(id -g) groups $(id -G)\n"
            "echo at home in $HOME: $USER, $LOGNAME\n"
        )
        open_project.program("toy", user + "sleep 0.3\necho Accuracy: 1\n")
        open_project.load(user + "exec sleep 60\n")
        open_project.settings(OVER_LOAD)
        with LiveSession(open_project, "--run-as", "nobody", environment=SUDO) as session:
            assert session.wait() == 0, session.output()
        results = home / "results"
        told = f"user {nobody.pw_uid} group {nobody.pw_gid} groups {nobody.pw_gid}"
        for log in (*results.glob("training_*.log"), *results.glob("background_logs_*/run_1.log")):
            assert told in log.read_text()
            assert f"at home in {nobody.pw_dir}: nobody, nobody\n" in log.read_text()
        owners = {
            str(path.relative_to(home)): (path.stat().st_uid, path.stat().st_gid)
            for path in (results, *results.rglob("*"))
        }
        assert set(owners.values()) == {(12345, 12346)}, owners
        assert len(owners) > 8
        assert all(path.stat().st_mode & 0o400 for path in results.rglob("*"))


@is_root
def test_an_interrupted_session_gives_its_results_back_too(project: Project) -> None:
    project.settings({**TOY, "hyperparameters": {"seconds": 50}})
    with LiveSession(project, *AS_ROOT, environment=SUDO) as session:
        session.await_text("command ")
        session.send(signal.SIGTERM)
        assert session.wait() == 2
    results = project.path / "results"
    owners = {str(path): path.stat().st_uid for path in (results, *results.rglob("*"))}
    assert set(owners.values()) == {12345}, owners


@is_root
def test_a_killed_session_leaves_no_log_of_a_load_to_root(project: Project) -> None:
    project.program("toy", "#!/bin/sh\nexec sleep 60\n")
    project.load("#!/bin/sh\nexec sleep 60\n")
    loads = [{**TOY, "repo": "busy"}, {**TOY, "repo": "busy", "model": "large"}]
    project.settings({"foreground": TOY, "background": loads})
    with LiveSession(project, *AS_ROOT, environment=SUDO) as session:
        session.await_text("command ")
        session.send(signal.SIGKILL)
        assert session.wait() == -signal.SIGKILL
    (folder,) = (project.path / "results").glob("background_logs_*")
    left = (folder, *folder.rglob("*"))
    owners = {str(path): (path.stat().st_uid, path.stat().st_gid) for path in left}
    assert len(list(folder.rglob("run_1.log"))) == 2
    assert set(owners.values()) == {(12345, 12346)}, owners


@is_root
def test_a_killed_session_leaves_nothing_of_the_foreground_to_root(project: Project) -> None:
    project.program("toy", "#!/bin/sh\ntouch begun\nexec sleep 60\n")
    project.settings(TOY)
    results = project.path / "results"
    with LiveSession(project, *AS_ROOT, environment=SUDO) as session:
        session.until((project.path / "repos/toy/begun").exists, "the training runs")
        session.send(signal.SIGKILL)
        assert session.wait() == -signal.SIGKILL
    left = (*results.glob("training_*.log"), *results.glob("energy_*"))
    owners = {str(path): (path.stat().st_uid, path.stat().st_gid) for path in left}
    assert len(owners) == 2
    assert set(owners.values()) == {(12345, 12346)}, owners


@is_root
def test_the_caches_of_a_session_go_back_to_who_called_sudo(project: Project) -> None:
    project.settings(TOY)
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write("\ndef pytest_sessionfinish():\n    open('.coverage', 'w').close()\n")
    for path in (project.path, *project.path.rglob("*")):
        os.chown(path, 12345, 12346)
    writes = ("--junitxml", "new/folder/junit.xml", "--log-file=pytest.log", "--debug")
    with LiveSession(
        project, *AS_ROOT, *writes, "-p", "cacheprovider", environment=SUDO
    ) as session:
        assert session.wait() == 0, session.output()
    caches = [*project.path.glob(".pytest_cache"), *project.path.rglob("__pycache__")]
    caches += [
        project.path / name for name in ("new", "pytest.log", "pytestdebug.log", ".coverage")
    ]
    names = {str(cache.relative_to(project.path)) for cache in caches}
    assert names >= {".pytest_cache", "__pycache__", "experiments/__pycache__"}
    assert (project.path / "new/folder/junit.xml").exists()
    inner = [path for cache in caches for path in (cache, *cache.rglob("*"))]
    owners = {str(path): path.stat().st_uid for path in inner}
    assert set(owners.values()) == {12345}, owners


@is_root
@pytest.mark.usefixtures("project")
def test_trainings_run_as_who_called_sudo_where_nobody_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nobody = pwd.getpwnam("nobody")
    sudo = {"SUDO_UID": str(nobody.pw_uid), "SUDO_GID": str(nobody.pw_gid), "XDG_DATA_HOME": "/x"}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        open_project = Project(Path(folder))
        told = "#!/bin/sh\necho as $(id -u) at home in $HOME, data in ${XDG_DATA_HOME-none}\n"
        open_project.program("toy", told + "echo Accuracy: 1\n")
        open_project.settings(TOY)
        logs = Path(folder) / "results"
        for options, user in (((), nobody.pw_uid), (AS_ROOT, 0)):
            with LiveSession(open_project, *options, environment=sudo) as session:
                assert session.wait() == 0, session.output()
            log = max(logs.glob("training_*.log"), key=lambda log: log.stat().st_mtime_ns)
            assert log.read_text().startswith(f"as {user} at home in ")
            assert ("data in none" in log.read_text()) == (user != 0)
            assert log.stat().st_uid == nobody.pw_uid


@is_root
def test_what_who_called_sudo_may_not_run_is_one_line_with_the_remedy(project: Project) -> None:
    project.settings(TOY)
    project.program("toy", "#!/bin/sh\nexit 0\n")
    with LiveSession(project, environment=SUDO) as session:
        assert session.wait() == 4
        lines = [line for line in session.output().splitlines() if "ERROR" in line]
    assert len(lines) == 1
    assert "models.toy.train_script: user 12345 may not run " in lines[0]
    assert "--run-as root" in lines[0]


def test_run_as_is_refused_in_words_where_it_cannot_be(project: Project) -> None:
    project.settings(TOY)
    result = project.refusal("--run-as", "no-such-user-here")
    result.stderr.fnmatch_lines(["ERROR: --run-as: there is no user 'no-such-user-here'"])
