"""Which worker runs which test: in the order of the plan, and what belongs together on one GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wattest.plan.experiment import Plan

SEAT = "wattest_seat"
"""Where a worker's input has the number of its seat; one that replaces another has the same."""
# A worker begins a test only once it knows the one after it, or that there is none.
_LOOK_AHEAD = 2


class UnitScheduling:
    """xdist's scheduler of a campaign: the next test of the plan to whoever is free.

    The first test of a unit decides on which seat all of it runs. A worker that replaces a dead one
    goes on with its seat's units. Tests that are none of the plan's are units of their own.

    Args:
        workers: How many workers there are in the beginning.
        unit_of: The unit of a test by its node id.
    """

    def __init__(self, workers: int, unit_of: Callable[[str], str]) -> None:
        self._workers = workers
        self._unit_of = unit_of
        self._collections: dict[Any, Sequence[str]] = {}
        self._index: dict[Any, Mapping[str, int]] = {}
        self._running: dict[Any, list[str]] = {}
        self._order: dict[str, int] = {}
        self._pending: list[str] = []
        self._seat_of: dict[str, object] = {}
        self._is_begun = False

    @property
    def nodes(self) -> list[Any]:
        """The workers that are alive."""
        return list(self._running)

    @property
    def tests(self) -> list[str]:
        """What all workers together were to run, in order."""
        return list(self._order)

    @property
    def collection_is_completed(self) -> bool:
        """Tell whether every worker has told its tests."""
        return self._is_begun or len(self._collections) >= self._workers

    @property
    def tests_finished(self) -> bool:
        """Tell whether nothing is left to be handed out."""
        is_busy = any(len(tests) >= _LOOK_AHEAD for tests in self._running.values())
        return self._is_begun and not self._pending and not is_busy

    @property
    def has_pending(self) -> bool:
        """Tell whether there are tests that have not ended."""
        return bool(self._pending) or any(self._running.values())

    def has_collected(self, node: Any) -> bool:
        """Tell whether a worker has ever told its tests."""
        return node in self._collections

    def add_node(self, node: Any) -> None:
        """Take in a worker that is ready."""
        self._running[node] = []

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        """Take the tests of a worker; one that replaces another may miss what has been done."""
        self._collections[node] = list(collection)
        self._index[node] = {test: index for index, test in enumerate(collection)}

    def schedule(self) -> None:
        """Hand out the first tests, or those for a worker that has come later.

        A worker that has told no tests where others did could not open its session; then nothing
        runs at all.
        """
        if not self._is_begun:
            self._is_begun = True
            if all(self._collections.values()):
                for tests in self._collections.values():
                    for test in tests:
                        self._order.setdefault(test, len(self._order))
            self._pending = list(self._order)
            # One each, so that the look-ahead does not change who begins with what.
            for node in self.nodes:
                self._send(node)
        for node in self.nodes:
            self._feed(node)

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """Hand out what comes next to a worker that has ended a test."""
        self._running[node].remove(self._collections[node][item_index])
        self._feed(node)

    def mark_test_pending(self, item: str) -> None:
        """Put a test back, whoever asks for it."""
        self._put_back([item])
        for node in self.nodes:
            self._feed(node)

    def remove_node(self, node: Any) -> str | None:
        """Take out a worker; return the test that it was running, if it died of it.

        One that never got a test of its own frees what was meant for its seat: none will come in
        its place.
        """
        running = self._running.pop(node)
        crashed = running.pop(0) if running else None
        self._put_back(running)
        if self._is_begun and not self._collections.get(node, True):
            seat = _seat(node)
            self._seat_of = {unit: one for unit, one in self._seat_of.items() if one != seat}
            for other in self.nodes:
                self._feed(other)
            if all(one.shutting_down for one in self.nodes):
                self._pending.clear()
        return crashed

    def _put_back(self, tests: Sequence[str]) -> None:
        self._pending = sorted({*self._pending, *tests}, key=lambda test: self._order[test])

    def _feed(self, node: Any) -> None:
        """See that a worker knows what it runs next; one for which there is nothing may end.

        One that has not told its tests yet is waited for.
        """
        if node not in self._index:
            return
        while not node.shutting_down and len(self._running[node]) < _LOOK_AHEAD:
            if not self._send(node):
                node.shutdown()

    def _send(self, node: Any) -> bool:
        """Send the first test of the plan that this worker may run; False where there is none."""
        seat, own = _seat(node), self._index.get(node, {})
        for test in self._pending:
            if test in own and self._seat_of.get(self._unit_of(test), seat) == seat:
                self._pending.remove(test)
                self._seat_of[self._unit_of(test)] = seat
                self._running[node].append(test)
                node.send_runtest_some([own[test]])
                return True
        return False


def _seat(node: Any) -> object:
    return node.workerinput.get(SEAT, 0)


def units_of(plan: Plan) -> Callable[[str], str]:
    """Return what tells the unit of a test of the plan by its node id."""
    from wattest.plan.shards import unit_id

    units = {experiment.id: unit_id(experiment) for experiment in plan.experiments}

    def unit_of(test: str) -> str:
        return units.get(test.rpartition("[")[2].removesuffix("]"), test)

    return unit_of
