"""The journal of a shared CPU: who ran when, also when a session was killed."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import ROOT, room_for
from wattest.errors import LeaseError
from wattest.machine import journal
from wattest.machine.journal import Journal
from wattest.machine.lease import Claim, take

Open = Callable[..., Journal]


@pytest.fixture
def claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Claim:
    """Return a counter that is shared; the journal lies in a folder of this test."""
    monkeypatch.setenv("WATTEST_LOCK_DIR", str(tmp_path / "locks"))
    (tmp_path / "name").write_text("package-0\n")
    return Claim("package-0", tmp_path / "name", shared=True)


@pytest.fixture
def sharing(claim: Claim) -> Iterator[Open]:
    """Return what opens the journal for a session."""
    opened: list[Journal] = []

    def open_for(session: str, claimed: Claim = claim) -> Journal:
        opened.append(Journal(session, [claimed]))
        return opened[-1]

    yield open_for
    for one in opened:
        one.close()


def now() -> int:
    return time.monotonic_ns()


def test_spans_that_overlap_a_window_are_named_with_their_seconds(sharing: Open) -> None:
    one, other = sharing("one"), sharing("other")
    with one.span("a") as a, other.span("b"):
        opened = now()
        time.sleep(0.02)
        (neighbour,) = a.neighbours(opened, closed := now())
    assert neighbour.experiment_id == "b"
    assert neighbour.seconds == pytest.approx((closed - opened) / 1e9)


def test_a_span_counts_only_as_long_as_it_lasted(sharing: Open) -> None:
    one, other = sharing("one"), sharing("other")
    with one.span("a") as a:
        opened = now()
        with other.span("b"):
            time.sleep(0.02)
        ended = now()
        time.sleep(0.05)
        (neighbour,) = a.neighbours(opened, now())
        assert 0.02 <= neighbour.seconds <= (ended - opened) / 1e9
        assert a.neighbours(ended, now()) == []


def test_spans_before_and_on_other_counters_do_not_count(sharing: Open, tmp_path: Path) -> None:
    one, other = sharing("one"), sharing("other")
    elsewhere = sharing("elsewhere", Claim("package-1", tmp_path / "none", shared=True))
    with other.span("before"):
        pass
    with elsewhere.span("elsewhere"), one.span("a") as a:
        assert a.neighbours(now(), now()) == []


def test_who_was_killed_is_a_neighbour_until_it_was_seen_dead(sharing: Open, claim: Claim) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from wattest.machine.journal import Journal; from wattest.machine.lease import Claim\n"
        "with Journal('dead', [Claim('package-0', Path(sys.argv[1]), True)]).span('b'):\n"
        "    print('begun', flush=True); time.sleep(60)\n"
    )
    one = sharing("one")
    with one.span("a") as a:
        opened = now()
        with subprocess.Popen(
            [sys.executable, "-c", program, str(claim.file)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            process.send_signal(signal.SIGKILL)
        (neighbour,) = a.neighbours(opened, now())
        assert neighbour.experiment_id == "b"
        assert a.neighbours(now(), now() + 10**9) == []


def test_a_journal_that_nobody_has_open_begins_anew(sharing: Open, tmp_path: Path) -> None:
    first = sharing("first")
    with first.span("a"):
        pass
    second = sharing("second")
    path = tmp_path / "locks" / "shared-cpu.jsonl"
    assert path.stat().st_size > 0
    first.close()
    second.close()
    sharing("third")
    assert path.stat().st_size == 0


def test_lines_that_were_cut_short_cost_nothing(sharing: Open, tmp_path: Path) -> None:
    one, other = sharing("one"), sharing("other")
    with (tmp_path / "locks" / "shared-cpu.jsonl").open("a") as file:
        file.write('\n{"session": "kil')
    with one.span("a") as a, other.span("b"):
        assert [one.experiment_id for one in a.neighbours(0, now())] == ["b"]


def test_who_writes_another_journal_is_refused(
    sharing: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharing("one")
    monkeypatch.setenv("WATTEST_LOCK_DIR", str(tmp_path / "other"))
    with pytest.raises(LeaseError, match=r"shares package-0, and its journal is not .*other"):
        sharing("other")
    monkeypatch.setenv("WATTEST_LOCK_DIR", str(tmp_path / "locks"))
    sharing("third")


def test_a_shared_counter_is_nobody_elses_alone(claim: Claim) -> None:
    alone = Claim(claim.name, claim.file)
    with take([claim]), take([claim]), pytest.raises(LeaseError, match=f"PID {os.getpid()}"):
        take([alone])
    with take([alone]), pytest.raises(LeaseError, match=f"PID {os.getpid()}"):
        take([claim])


@pytest.mark.parametrize("room", [0, 40])
def test_a_span_that_nobody_could_see_is_refused_and_bars_nobody(
    sharing: Open, tmp_path: Path, room: int
) -> None:
    one, other = sharing("one"), sharing("other")
    text = r"shared-cpu\.jsonl cannot be written.*disk full"
    with other.span("b"):
        written = (tmp_path / "locks/shared-cpu.jsonl").stat().st_size
        with room_for(room + written), pytest.raises(LeaseError, match=text), one.span("a"):
            pass
    with other.span("c") as c, one.span("d"):
        assert [one.experiment_id for one in c.neighbours(now(), now() + 1)] == ["d"]


def test_an_end_that_cannot_be_noted_is_seen_by_its_lock(sharing: Open, tmp_path: Path) -> None:
    one, other = sharing("one"), sharing("other")
    with one.span("a") as a:
        with ExitStack() as full, other.span("b"):
            full.enter_context(room_for((tmp_path / "locks/shared-cpu.jsonl").stat().st_size))
        assert [one.experiment_id for one in a.neighbours(0, now())] == ["b"]
        assert a.neighbours(now(), now() + 10**9) == []


def test_a_session_is_no_neighbour_of_its_own_though_its_disk_was_full(
    sharing: Open, tmp_path: Path
) -> None:
    one = sharing("one")
    with ExitStack() as full, one.span("a"):
        full.enter_context(room_for((tmp_path / "locks/shared-cpu.jsonl").stat().st_size))
    with one.span("b") as b:
        assert b.neighbours(now(), now() + 10**9) == []


def test_a_journal_that_stays_locked_is_not_waited_for_for_ever(
    sharing: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sharing("one")
    monkeypatch.setattr(journal, "_PATIENCE_SECONDS", 0.05)
    with (tmp_path / "locks/shared-cpu.jsonl").open() as stuck:
        fcntl.flock(stuck, fcntl.LOCK_EX)
        with pytest.raises(LeaseError, match="stays locked: is another session"), one.span("a"):
            pass
    with one.span("a"):
        pass


def test_what_is_over_is_not_read_again_and_what_is_open_is(
    sharing: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, third = sharing("one"), sharing("other"), sharing("third")
    for number in range(50):
        with other.span(f"before-{number}"):
            pass
    with other.span("long"):
        for number in range(50):
            with third.span(f"short-{number}"):
                pass
        with one.span("a") as a:
            assert [found.experiment_id for found in a.neighbours(now(), now() + 1)] == ["long"]
    read: list[int] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *of: read.append(len(pread(*of))) or pread(*of))
    with one.span("b") as b, other.span("c"):
        read.clear()
        assert [found.experiment_id for found in b.neighbours(now(), now() + 1)] == ["c"]
    assert max(read) < 1000
