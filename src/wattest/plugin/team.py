"""Several workers on one machine: their seats, and what their controller does for all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wattest.energy import Finding, VisibleGpu, cpu_findings, visible_devices
from wattest.errors import LeaseError, RecordError
from wattest.machine import Journal, Leasable, set_governor, take
from wattest.machine.counters import gpu_counter, shared_cpu
from wattest.machine.seats import is_free, make_seats, reserve_gpus
from wattest.plan import store
from wattest.records import Table, finished_experiments, read_record
from wattest.session import Member, new_session_id

if TYPE_CHECKING:
    from wattest.plan.load import Campaign
    from wattest.plugin.live import LiveLines
    from wattest.session import SessionOptions

Announce = Callable[[str], None]


class Team:
    """The workers of one run, as their controller holds them from before they start.

    It has reserved one GPU for each; what it holds nobody else measures with, also while a worker
    that was killed is being replaced.

    Args:
        campaign: What they run.
        count: How many they are.
        options: What the command line says of the session.
        wanted: What ``--cpu-energy`` says; None if it says nothing.
        announce: Is told who is waited for, and what goes wrong with the CSV.

    Attributes:
        live: Shows their live lines; None where there is no terminal.

    Raises:
        LeaseError: they cannot all measure; in words.
    """

    def __init__(
        self,
        campaign: Campaign,
        count: int,
        options: SessionOptions,
        wanted: str | None,
        announce: Announce,
    ) -> None:
        self._campaign = campaign
        self._options = options
        self._announce = announce
        self._session_id = new_session_id()
        self.live: LiveLines | None = None
        self._taken: dict[object, int] = {}
        self._table: Table | None = None
        self._written: set[str] = set()
        with ExitStack() as closing:
            gpus = _gpus(count, options, wanted, announce, closing)
            findings = [] if wanted == "off" else cpu_findings(options.sys_root)
            own = [] if wanted in ("shared", "off") else findings
            self.seats = make_seats(count, gpus, own, options.sys_root)
            self._cpu_energy = self._settle(wanted, findings, closing, announce)
            governor = campaign.plan.settings.governor
            self._governor = set_governor(governor, options.sys_root, closing)
            self._closing = closing.pop_all()

    def _settle(
        self,
        wanted: str | None,
        findings: Sequence[Finding],
        closing: ExitStack,
        announce: Announce,
    ) -> str:
        """Take the CPU's counters in the way that is wanted, or that is possible; return which."""
        if wanted == "off":
            return wanted
        packages = [seat.package_counter for seat in self.seats if seat.package_counter]
        count = len(self.seats)
        if packages:
            claims, mode = [one.reserve() for one in packages], "exclusive"
        elif wanted == "exclusive" and any(one.status == "measured" for one in findings):
            raise LeaseError(
                f"--cpu-energy exclusive: {count} workers need a CPU package each, with CPUs on it"
                " that are ours, and there are not so many; run fewer, or with --cpu-energy shared"
            )
        else:
            claims, mode = shared_cpu(findings, self._options.sys_root), "shared"
        closing.callback(take(claims, self._options.wait_seconds, announce).close)
        if mode == "shared":
            closing.callback(Journal(f"{self._session_id}/controller", claims).close)
        return mode

    def describe(self) -> list[str]:
        """Return what the header says of the team."""
        gpus = [seat.gpu.name for seat in self.seats if seat.gpu]
        told = f", one GPU each: {', '.join(gpus)}" if gpus else ""
        return [f"workers: {len(self.seats)}{told}; CPU energy {self._cpu_energy}"]

    def begin(self, *, resumes: bool) -> None:
        """Leave the plan, and the CSV; where this resumes a campaign, with what is finished.

        Raises:
            RecordError: they cannot be written.
        """
        results, plan = self._options.results_folder, self._campaign.plan
        finished = finished_experiments(results, plan) if resumes else {}
        folder = results / "sessions" / self._session_id
        try:
            store.store(results, plan, folder)
            self._table = Table(
                folder / "experiments.csv", plan, [one.row for one in finished.values()]
            )
        except OSError as error:
            raise RecordError(f"{error.filename}: cannot be written: {error.strerror}") from None

    def seat_for(self, node: Any) -> tuple[int, Member]:
        """Return the first free seat, with its number, for a worker that is about to start."""
        free = set(range(len(self.seats))) - set(self._taken.values())
        number = min(free)
        self._taken[node] = number
        return number, Member(
            session_id=self._session_id,
            worker=node.gateway.id,
            workers=len(self.seats),
            seat=self.seats[number],
            cpu_energy=self._cpu_energy,
            governor=self._governor,
        )

    def leave(self, node: Any) -> None:
        """Free the seat of a worker that is gone."""
        self._taken.pop(node, None)

    def add(self, experiment_id: str) -> None:
        """Add the row of a record that a worker has written to the CSV, if it is there."""
        self._add(self._options.results_folder / f"{experiment_id}.json")

    def close(self) -> None:
        """Add what no report told of, as of an interrupted training, and let everything go."""
        try:
            if self._table is not None:
                for path in sorted(self._options.results_folder.glob("*.json")):
                    self._add(path)
        finally:
            self._closing.close()

    def _add(self, path: Path) -> None:
        if self._table is None or path.stem in self._written:
            return
        record = read_record(path, self._session_id)
        if record is not None and record["plan"]["session_id"] == self._session_id:
            self._written.add(path.stem)
            try:
                self._table.add(record)
            except OSError as error:
                self._announce(
                    f"{error.filename or self._table.file}: {error.strerror}; the record counts all"
                    " the same"
                )


def _gpus(
    count: int, options: SessionOptions, wanted: str | None, announce: Announce, closing: ExitStack
) -> list[tuple[VisibleGpu, Leasable]]:
    """Reserve a GPU for each; none where there is none and no energy is to be measured.

    Raises:
        LeaseError: there are not so many, or none at all.
    """
    visible = visible_devices(os.environ)
    if visible:
        root, seconds = options.sys_root, options.wait_seconds
        gpus, held = reserve_gpus(visible, count, root, seconds, announce)
        closing.callback(held.close)
        return gpus
    if wanted != "off":
        named = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = "" if named is None else f" (CUDA_VISIBLE_DEVICES={named!r})"
        raise LeaseError(
            f"{count} workers would measure on the same counters at once, and each would count"
            f" the other's energy, since no GPU is visible{why}; run with -n 0 or -n 1, or without"
            " any energy: --cpu-energy off"
        )
    return []


def free_gpus(sys_root: Path) -> int:
    """Return how many GPUs are visible and free; if none is free, how many are visible."""
    visible = visible_devices(os.environ)
    counters = [gpu_counter(one.uuid, one.pci_bus_id, sys_root) for one in visible]
    return sum(map(is_free, counters)) or len(visible)
