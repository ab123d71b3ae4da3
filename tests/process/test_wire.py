"""Packets: what is too long for one is cut, and what nobody knows is refused."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from zoo.helpers import MakeTree

from wattest.errors import ProcessError
from wattest.process import Keeper
from wattest.process.supervisor.wire import End

pytest_plugins = ["zoo.fixtures"]


@pytest.fixture
def ends() -> Iterator[tuple[End, End, socket.socket]]:
    """Two ends of a pair, and the socket of the first."""
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with first, second:
        yield End(first.fileno()), End(second.fileno()), first


@pytest.mark.parametrize("buffer_bytes", [None, 6000])
def test_a_report_of_any_length_arrives_cut(
    ends: tuple[End, End, socket.socket], buffer_bytes: int | None
) -> None:
    sender, receiver, sending = ends
    if buffer_bytes is not None:
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    survivors = [(pid, "D", "\udcff" + "x" * 100_000) for pid in range(50)]
    sender.reply({"id": 7}, survivors=survivors, duration_seconds=1.5)
    told = receiver.receive()
    assert told is not None
    assert (told["id"], told["duration_seconds"]) == (7, 1.5)
    pid, state, command = told["survivors"][0]
    assert (pid, state) == (0, "D")
    assert command.startswith("\udcffxxx")
    assert command.endswith("…")


def test_what_fits_arrives_whole_and_the_end_is_noticed(
    ends: tuple[End, End, socket.socket],
) -> None:
    sender, receiver, sending = ends
    assert receiver.receive() is None
    sender.event("exit", pids=list(range(10_000)))
    assert receiver.receive() == {"event": "exit", "pids": list(range(10_000))}
    assert not receiver.is_over
    sending.close()
    assert receiver.receive() is None
    assert receiver.is_over


def test_an_unknown_request_is_refused_and_starts_nothing(make_tree: MakeTree, log: Path) -> None:
    tree = make_tree("sh", "-c", "echo ran")
    with pytest.raises(ProcessError, match="does not know the request 'dance'"):
        tree._client.request("dance", 5.0)
    assert tree.pids() == ()
    assert log.read_text() == ""


def test_an_unknown_request_does_not_end_a_promise(tmp_path: Path) -> None:
    file = tmp_path / "cpu0"
    file.write_text("performance")
    keeper = Keeper([(file, "powersave")])
    with pytest.raises(ProcessError, match="does not know the request 'dance'"):
        keeper._client.request("dance", 5.0)
    assert file.read_text() == "performance"
    keeper.undo_now()
    assert file.read_text() == "powersave"


def test_a_keeper_that_crashes_says_why(tmp_path: Path) -> None:
    (tmp_path / "cpu0").touch()
    keeper = Keeper([(tmp_path / "cpu0", 5)])  # type: ignore[list-item]
    with pytest.raises(ProcessError, match="AttributeError: 'int' object"):
        keeper._client.request("undo", 5.0)
    keeper._client.kill_both()
