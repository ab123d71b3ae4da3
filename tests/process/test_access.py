"""Trainings of another user: what they run as, and what they may not run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from zoo.helpers import finish

from wattest.process import Command, Tree, first_refused

pytest_plugins = ["zoo.fixtures"]

NOBODY = 65534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def test_root_can_run_a_training_as_another_user(open_folder: Path) -> None:
    command = Command(
        ("sh", "-c", "id -u; id -g; id -G; cat /proc/self/status"),
        open_folder,
        {"PATH": os.environ["PATH"]},
        run_as=(NOBODY, NOBODY),
    )
    with Tree(command, open_folder / "log") as tree:
        tree.start()
        finish(tree)
    uid, gid, groups, *status = (open_folder / "log").read_text().splitlines()
    assert (uid, gid) == (str(NOBODY), str(NOBODY))
    assert "0" not in groups.split()
    assert "CapEff:\t0000000000000000" in status
    assert (open_folder / "log").stat().st_uid == NOBODY


def test_what_another_user_may_not_run_is_found_with_the_folder_that_closes_it(
    open_folder: Path,
) -> None:
    (open_folder / "a b").mkdir(mode=0o755)
    script = open_folder / "a b" / "train.sh"
    script.write_text("#!/bin/sh\n")
    expected = {0o755: None, 0o744: script, 0o711: script, 0o700: script}
    for mode, refused in expected.items():
        script.chmod(mode)
        assert first_refused(script, (NOBODY, NOBODY)) == refused, oct(mode)
    script.chmod(0o755)
    (open_folder / "a b").chmod(0o700)
    assert first_refused(script, (NOBODY, NOBODY)) == open_folder / "a b"
    link = open_folder / "link"
    link.symlink_to(script)
    assert first_refused(link, (NOBODY, NOBODY)) == open_folder / "a b"
    shutil.copy("/bin/true", open_folder / "binary")
    (open_folder / "binary").chmod(0o711)
    assert first_refused(open_folder / "binary", (NOBODY, NOBODY)) is None
