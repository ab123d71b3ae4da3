"""Which worker runs which test: the order of the plan, units on one seat, the dead replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from planning import PARALLEL, plan

from wattest.plugin.scheduling import SEAT, UnitScheduling, units_of

PAIRS = {**PARALLEL, "runs_per_config": 4, "baseline": True}


@dataclass(eq=False)
class Node:
    """A worker: what it was sent, and whether it may end."""

    seat: int
    tests: Sequence[str]
    sent: list[str] = field(default_factory=list)
    shutting_down: bool = False

    @property
    def workerinput(self) -> dict[str, Any]:
        return {SEAT: self.seat}

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        assert not self.shutting_down
        self.sent += [self.tests[index] for index in indices]

    def shutdown(self) -> None:
        self.shutting_down = True


class Table:
    """Workers around a scheduler; they end their tests when told to."""

    def __init__(
        self, tests: Sequence[str], workers: int, unit_of: Any = lambda test: test
    ) -> None:
        self.tests = list(tests)
        self.scheduling = UnitScheduling(workers, unit_of)
        self.ran: list[tuple[int, str]] = []
        self.nodes = [self.seat(number, tests) for number in range(workers)]
        self.scheduling.schedule()

    def seat(self, number: int, tests: Sequence[str]) -> Node:
        node = Node(number, list(tests))
        self.scheduling.add_node(node)
        self.scheduling.add_node_collection(node, node.tests)
        return node

    def end(self, node: Node) -> str:
        """Let a worker end the test that it runs, as one may that knows the next one or the end."""
        done = sum(seat == node.seat for seat, _ in self.ran)
        test = node.sent[done]
        assert len(node.sent) > done + 1 or node.shutting_down, "it waits for ever"
        self.ran.append((node.seat, test))
        self.scheduling.mark_test_complete(node, node.tests.index(test))
        return test

    def run(self, turns: Sequence[int]) -> None:
        """Let workers end tests in these turns over and over, until all have ended."""
        while self.scheduling.has_pending:
            busy = [
                self.nodes[turn]
                for turn in turns
                if sum(seat == turn for seat, _ in self.ran) < len(self.nodes[turn].sent)
            ]
            assert busy, "tests are left, and nobody runs them"
            for node in busy:
                if sum(seat == node.seat for seat, _ in self.ran) < len(node.sent):
                    self.end(node)


TESTS = [f"t[{number:02}]" for number in range(12)]


def test_tests_begin_in_the_order_of_the_plan() -> None:
    table = Table(TESTS, 4)
    assert [node.sent for node in table.nodes] == [
        [TESTS[number], TESTS[number + 4]] for number in range(4)
    ]
    table.run(range(4))
    assert [test for _, test in table.ran] == TESTS
    assert table.scheduling.tests_finished
    assert all(node.shutting_down for node in table.nodes)


@pytest.mark.parametrize("turns", [(0, 0, 0, 1, 2, 3), (3, 3, 1), (0, 1, 2, 3)])
def test_each_worker_keeps_the_order_whoever_is_fast(turns: Sequence[int]) -> None:
    table = Table(TESTS, 4)
    table.run([*turns, 0, 1, 2, 3])
    assert sorted(test for _, test in table.ran) == TESTS
    for seat in range(4):
        own = [test for one, test in table.ran if one == seat]
        assert own == sorted(own)


@pytest.mark.parametrize("turns", [(0, 1, 2), (0, 0, 0, 1, 2), (2, 1, 1, 0)])
def test_all_arms_of_a_unit_run_on_one_seat(tmp_path: Path, turns: Sequence[int]) -> None:
    paired = plan(tmp_path, PAIRS, repetitions=3)
    tests = [f"experiments/test_training.py::test_training[{one.id}]" for one in paired.experiments]
    unit_of = units_of(paired)
    table = Table(tests, 3, unit_of)
    table.run([*turns, 0, 1, 2])
    seats: dict[str, set[int]] = {}
    for seat, test in table.ran:
        seats.setdefault(unit_of(test), set()).add(seat)
    assert len(seats) == 12
    assert all(len(found) == 1 for found in seats.values())
    assert sorted(test for _, test in table.ran) == sorted(tests)


def test_fewer_tests_than_workers_leave_some_without() -> None:
    table = Table(TESTS[:2], 4)
    assert [node.sent for node in table.nodes] == [[TESTS[0]], [TESTS[1]], [], []]
    assert all(node.shutting_down for node in table.nodes)
    table.run(range(2))
    assert table.scheduling.tests_finished


def test_who_replaces_a_dead_worker_goes_on_with_its_seat() -> None:
    table = Table(TESTS, 2, lambda test: test[:4] if test < "t[04]" else test)
    dead = table.nodes[0]
    table.end(dead)
    assert table.scheduling.remove_node(dead) == dead.sent[1]
    left = dead.sent[2:]
    table.end(table.nodes[1])
    table.ran = [one for one in table.ran if one[0] != 0]
    table.nodes[0] = table.seat(0, TESTS)
    table.scheduling.schedule()
    assert table.nodes[0].sent[: len(left)] == left
    table.run(range(2))
    ran = [test for _, test in table.ran]
    assert sorted([*ran, *dead.sent[:2]]) == TESTS


def test_one_that_misses_what_is_done_by_now_can_replace_another() -> None:
    table = Table(TESTS, 1)
    table.end(table.nodes[0])
    table.scheduling.remove_node(table.nodes[0])
    table.ran.clear()
    table.nodes[0] = table.seat(0, TESTS[1:])
    table.scheduling.schedule()
    table.run([0])
    assert [test for _, test in table.ran] == TESTS[2:]


def test_nothing_runs_where_one_of_several_could_not_open_its_session() -> None:
    scheduling = UnitScheduling(2, lambda test: test)
    nodes = [Node(0, TESTS), Node(1, [])]
    for node in nodes:
        scheduling.add_node(node)
        scheduling.add_node_collection(node, node.tests)
    scheduling.schedule()
    assert [node.sent for node in nodes] == [[], []]
    assert all(node.shutting_down for node in nodes)
    assert scheduling.tests_finished


def test_a_seat_that_nobody_takes_any_more_keeps_nothing_back() -> None:
    table = Table(TESTS[:6], 2, lambda test: "pair" if test in TESTS[:4:2] else test)
    table.scheduling.remove_node(table.nodes[0])
    table.nodes[0] = table.seat(0, [])
    table.scheduling.schedule()
    table.scheduling.remove_node(table.nodes[0])
    table.run([1])
    assert sorted(test for _, test in table.ran) == TESTS[1:6]


def test_one_that_has_not_told_its_tests_yet_is_waited_for() -> None:
    table = Table(TESTS, 3)
    late = Node(1, TESTS)
    for node in table.nodes[:2]:
        table.scheduling.remove_node(node)
    table.scheduling.add_node(late)
    table.nodes[0] = table.seat(0, TESTS)
    table.scheduling.schedule()
    assert not late.shutting_down
    table.scheduling.add_node_collection(late, late.tests)
    table.scheduling.schedule()
    assert late.sent == [TESTS[4], TESTS[7]]
