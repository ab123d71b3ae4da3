"""The methods paragraph for a paper, made from the records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from wattest.records import result_of
from wattest.report.facts import at, gpus_of, text_at
from wattest.report.model import Answers
from wattest.report.runs import Run
from wattest.report.sentences import few
from wattest.report.statistics import counted

_DOMAINS = {"cpu_pkg": "CPU packages", "cpu_ram": "DRAM", "gpu": "GPU"}
_VERSIONS = ("wattest", "python", "torch", "tensorflow", "jax", "numpy")


def methods_of(answers: Answers) -> str:
    """Return the paragraph: what was run where, measured by what, in which order, and left out."""
    return " ".join(_sentences(answers))


def _sentences(answers: Answers) -> Iterator[str]:
    runs = answers.runs
    valid = [run for run in runs if run.is_valid]
    programs = _listed(run.program for run in runs if run.arm != "load")
    yield f"We ran {counted(len(runs), 'trainings')} of {programs}, of which {len(valid)} count."
    if loads := _listed(run.load for run in runs):
        yield f"The load was {loads}; energies under load are combined, of both trainings."
    yield _hardware(runs)
    yield _energy(answers, valid)
    yield _order(runs)
    yield _exclusions(answers)
    yield (
        "Repetitions were averaged within each configuration. Intervals are 95 % by Student's t,"
        " of ratios on their logarithms; effects of hyper-parameters are least squares on log2"
        " scales over configuration means. No value was left out for being odd."
    )
    if software := _software(runs):
        yield f"Software: {software}."


def _hardware(runs: Sequence[Run]) -> str:
    gpus = _listed(text_at(one, "name") for run in runs for one in gpus_of(run.record))
    facts = {name: _listed(run.facts.get(name) for run in runs) for name in
             ("cpu", "driver", "power_limit", "kernel", "governor")}  # fmt: skip
    parts = [facts["cpu"] or "a CPU that is not told"]
    if gpus:
        driver, limit = facts["driver"], facts["power_limit"]
        parts.append(gpus + _clause(", driver", driver) + _clause(", power limit", limit))
    parts += [_clause("kernel", facts["kernel"]), _clause("governor", facts["governor"])]
    return f"Hardware: {'; '.join(part.strip() for part in parts if part)}."


def _energy(answers: Answers, valid: Sequence[Run]) -> str:
    if answers.is_estimated:
        told = _listed(text_at(result_of(run.record), "energy_estimate", "method") for run in valid)
        return f"No energy was measured{f'; estimates (~) are by {told}' if told else ''}."
    counters = []
    for name, words in _DOMAINS.items():
        domains = [one for run in valid if (one := _domain(run, name)).get("status") == "measured"]
        if domains:
            sources = _listed(text_at(one, "source") for one in domains)
            counters.append(f"{words} by {sources}{_resolution(domains)}")
    return f"Energy was read at both edges of each training: {'; '.join(counters) or 'nowhere'}."


def _resolution(domains: Iterable[Mapping[str, Any]]) -> str:
    told = {one.get("resolution_joules") for one in domains}
    steps = sorted(one for one in told if isinstance(one, (int, float)))
    return f" (resolution {steps[-1]:.3g} J)" if steps else ""


def _order(runs: Sequence[Run]) -> str:
    orders = _listed((run.order or "an order not told").replace("_", " ") for run in runs)
    blocks = max((run.block or 1 for run in runs), default=1)
    repeated = max((run.repetition or 1 for run in runs), default=1)
    seeds = _listed(str(run.seed) for run in runs)
    plans = _listed(run.plan_digest for run in runs)
    return (
        f"Order: {orders} ({counted(blocks, 'blocks')}, {counted(repeated, 'repetitions')}), from"
        f" root seed {seeds}; plan {plans}."
    )


def _exclusions(answers: Answers) -> str:
    belief = answers.belief
    told = [f"{run.experiment_id} ({'; '.join(reasons)})" for run, reasons in belief.invalid]
    told += [f"pair {one.label} ({one.reason})" for one in belief.left_out]
    if not told:
        return "Nothing was excluded."
    return f"Excluded: {few(told, 20, '; ')}."


def _software(runs: Sequence[Run]) -> str:
    tables = [at(run.record["environment"], "software") for run in runs]
    found = []
    for name in _VERSIONS:
        versions = _listed(text_at(table, name) for table in tables)
        found += [f"{name} {versions}"] if versions else []
    return ", ".join(found)


def _domain(run: Run, name: str) -> Mapping[str, Any]:
    found = at(result_of(run.record), "energy_provenance", "domains", name)
    return found if isinstance(found, Mapping) else {}


def _clause(label: str, text: str) -> str:
    return f"{label} {text}" if text else ""


def _listed(words: Iterable[str | None]) -> str:
    return few(words, 4)
