"""The id of a session is its own, on one host and across hosts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wattest.session import member, new_session_id


def test_two_sessions_of_one_process_have_two_ids() -> None:
    assert new_session_id() != new_session_id()


def test_a_pid_of_a_container_is_told_from_the_same_pid_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inode = Path("/proc/self/ns/pid").stat().st_ino
    monkeypatch.setattr(member, "_HOST_NAMESPACE", 0)
    assert f"_{os.getpid()}-{inode}" in new_session_id()
    monkeypatch.setattr(member, "_HOST_NAMESPACE", inode)
    assert str(inode) not in new_session_id()
