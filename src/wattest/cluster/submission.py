"""``wattest submit``: fix a plan, write the batch file of its jobs, and queue what is missing."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wattest.errors import ConfigurationError, RecordError, WattestError
from wattest.files import as_utf8, make_folder, write_atomically
from wattest.machine.cpus import format_cpus
from wattest.machine.slurm import call
from wattest.names import composed, digest_of
from wattest.plan import store
from wattest.plan.experiment import Plan
from wattest.plan.load import Campaign
from wattest.plan.shards import Shard, units
from wattest.records import finished_experiments

_MAX_ARRAY_SIZE = 1001
_SIGNAL_SECONDS = 60
_OTHER_TIME = r"--signal=(B|BR|RB):(TERM|SIGTERM|15)@[1-9]\d{0,4}"
_HEAD = """\
#!/bin/bash
# {settings}: plan {digest}, {experiments} experiments in {shards} shards, seed {seed}.
# Written by `wattest submit`, which also says what is missing; change it as you like, and queue it
# yourself with: sbatch {file}
#SBATCH --job-name={name}
#SBATCH --array={array}
#SBATCH --output={logs}
#SBATCH --open-mode=append
#SBATCH --requeue
# A task is told {signal} s before its time is up: it leaves its record and queues itself again.
#SBATCH --signal=B:TERM@{signal}
{options}cd {root} || exit 1
# pytest takes the place of this shell, so that Slurm's signals reach it.
exec {command}
"""
_AS_WRITTEN = "# as written: "


@dataclass(frozen=True)
class Request:
    """What the user asks of Slurm.

    Attributes:
        root: The project's folder, in which the tasks run.
        results: Where records go.
        registry: The registry's file as pytest is told it; None for the project's own.
        shards: Into how many parts the plan is divided; None to choose.
        options: Words for sbatch.
        arguments: Words for pytest.
        require_energy: Whether a task on a machine without counters fails at once.
        dry_run: Whether nothing is queued.
    """

    root: Path
    results: Path
    registry: str | None
    shards: int | None
    options: Sequence[str]
    arguments: Sequence[str]
    require_energy: bool
    dry_run: bool


def submit(campaign: Campaign, request: Request, tell: Callable[[str], None]) -> None:
    """Queue a job array for the shards in which experiments are missing; none if all are done.

    Raises:
        WattestError: programs have faults, a job of this plan is queued, Slurm refuses, or a file
            cannot be written; one line each.
    """
    plan = campaign.plan
    if faults := campaign.faults(plan.experiments):
        raise ConfigurationError(faults)
    if mistakes := [*_faults_of(request.options), *_faults_of_place(plan, request)]:
        raise ConfigurationError(mistakes)
    if not request.dry_run:
        _refuse_while_queued(job_name(plan, request.results))
    shards = request.shards or _usual_shards(plan)
    try:
        store.store(request.results, plan)
        missing = _missing(plan, request.results, shards)
        done = len(plan.experiments) - sum(missing.values())
        tell(f"plan {plan.digest}, seed {plan.seed}: {done} of {len(plan.experiments)} done")
        if not missing:
            return
        file = _write_batch_file(plan, request, shards, sorted(missing), tell)
    except OSError as error:
        where = error.filename or request.results
        raise RecordError(f"{where} cannot be written: {error.strerror}") from None
    for warning in _time_warnings(plan, request.options):
        tell(f"warning: {warning}")
    tell(f"batch file: {file}")
    if request.dry_run:
        tell(f"nothing queued; {len(missing)} of {shards} shards have experiments left")
        return
    tell(call("sbatch", str(file)).strip())
    tell(f"follow it with: wattest status {shlex.quote(str(request.results))}")


def _faults_of(options: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with words for sbatch that would undo what the batch file is made for."""
    for word in options:
        name = word.split("=")[0]
        if re.match(r"-a|--ar", name):
            yield f"{word}: the array is chosen by what is missing; leave it out"
        if re.match(r"-J|--jo", name):
            yield f"{word}: by the name of a job the campaign is known; leave it out"
        if re.match(r"--wr", name):
            yield f"{word}: the batch file is what runs; leave it out"
        if re.match(r"--sig", name) and not re.fullmatch(_OTHER_TIME, word):
            yield f"{word}: pytest must get SIGTERM before its time is up; --signal=B:TERM@SECONDS"
        if re.fullmatch(r"-W|--wait", name):
            yield f"{word}: nothing waits for the tasks; leave it out, and ask wattest status"
        if "\n" in word:
            yield f"{word!r}: a line break has no place in a batch file"
    if options and not options[0].startswith("-"):
        yield f"{options[0]}: no option of sbatch; options follow --, such as -- --partition=gpu"


def _faults_of_place(plan: Plan, request: Request) -> Iterator[str]:
    """Yield why Slurm could not run in, or write to, the places of the campaign."""
    for name, path in (("project", request.root), ("results", request.results)):
        if not re.fullmatch(r"[^\n\\\ud800-\udfff]*", str(path)):
            text = "has a backslash, a line break or what is no UTF-8 in its path"
            yield f"the {name} folder {str(path)!a} {text}, which Slurm does not understand"
    words = (plan.settings.file, request.registry or "", *request.arguments, *request.options)
    for word in words:
        if as_utf8(word) != word:
            yield f"{word!a} is no UTF-8, which a batch file must be"


def job_name(plan: Plan, results: Path) -> str:
    """Return what the jobs of a plan are called; one with records elsewhere is another campaign."""
    place = digest_of(composed(str(results.resolve())))
    return f"wattest-{plan.digest}-{place[:8]}"


def _refuse_while_queued(name: str) -> None:
    # Whoever has queued it: a colleague's tasks would train the same.
    told = call("squeue", "--noheader", "--name", name, "--format", "%F")
    if jobs := sorted(set(told.split())):
        raise ConfigurationError(
            [f"job {', '.join(jobs)} of this plan is queued; wait, or: scancel {' '.join(jobs)}"]
        )


def _usual_shards(plan: Plan) -> int:
    """Return one shard for each block where there are several, else one for each unit."""
    blocks = max((one.block for one in plan.experiments), default=1)
    if plan.order == "randomized_blocks" and blocks > 1:
        return max(n for n in range(1, _most_tasks() + 1) if blocks % n == 0)
    return min(len(units(plan.experiments)), _most_tasks())


def _most_tasks() -> int:
    """Return how many tasks an array may have, numbered from 1."""
    try:
        told = re.search(r"MaxArraySize\s*=\s*(\d+)", call("scontrol", "show", "config"))
    except WattestError:
        # A dry run is made where there is no Slurm, too.
        told = None
    return (int(told.group(1)) if told else _MAX_ARRAY_SIZE) - 1


def _missing(plan: Plan, results: Path, shards: int) -> dict[int, int]:
    """Return how many experiments are missing in each shard that lacks some."""
    done = finished_experiments(results, plan)
    missing = {
        number: len(Shard(number, shards).keys(plan) - set(done)) for number in range(1, shards + 1)
    }
    return {number: count for number, count in missing.items() if count}


def _write_batch_file(
    plan: Plan, request: Request, shards: int, array: Sequence[int], tell: Callable[[str], None]
) -> Path:
    folder = request.results / "slurm"
    make_folder(folder)
    name = job_name(plan, request.results)
    file = folder / f"{name}.sbatch"
    text = _HEAD.format(
        settings=" ".join(plan.settings.file.splitlines()),
        digest=plan.digest,
        experiments=len(plan.experiments),
        shards=shards,
        seed=plan.seed,
        file=shlex.quote(str(file)),
        name=name,
        # As the kernel writes CPUs: 1-3,7.
        array=format_cpus(array),
        logs=shlex.quote(str(folder).replace("%", "%%") + "/%A_%a.log"),
        signal=_SIGNAL_SECONDS,
        options="".join(f"#SBATCH {line}\n" for line in _lines_of(request.options)),
        root=shlex.quote(str(request.root)),
        command=_command(plan, request, shards),
    )
    if file.exists() and not _is_as_written(file.read_text(encoding="utf-8", errors="replace")):
        kept = file.replace(file.with_suffix(".sbatch.old"))
        tell(f"warning: the batch file was changed by hand; it is kept as {kept}")
    write_atomically(file, f"{text}{_AS_WRITTEN}{digest_of(text)}")
    return file


def _is_as_written(text: str) -> bool:
    body, _, digest = text.rpartition(_AS_WRITTEN)
    return digest.strip() == digest_of(body)


def _lines_of(options: Sequence[str]) -> list[str]:
    """Return one line for each option, with its value where that is a word of its own."""
    lines: list[str] = []
    for word in map(shlex.quote, options):
        if lines and not word.startswith("-"):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _command(plan: Plan, request: Request, shards: int) -> str:
    words = [sys.executable, "-m", "pytest", "experiments", "--config", plan.settings.file]
    words += ["--results-dir", str(request.results), "--seed", str(plan.seed), "--resume"]
    words += ["--models-config", request.registry] if request.registry else []
    words += ["--require-energy"] if request.require_energy else []
    words += request.arguments
    return f'{shlex.join(words)} --shard "$SLURM_ARRAY_TASK_ID/{shards}"'


def _time_warnings(plan: Plan, options: Sequence[str]) -> list[str]:
    """Warn where a task may end before a single training of the plan must."""
    seconds = _time_option(options)
    longest = max(one.limits.timeout_seconds for one in plan.experiments)
    if seconds is None or seconds >= longest:
        return []
    return [
        f"--time gives a task {seconds:g} s, and timeout_seconds a training {longest:g} s: one"
        " that takes longer than its task is interrupted twice, and then refused"
    ]


def _time_option(options: Sequence[str]) -> float | None:
    """Return the seconds that ``--time`` gives, None where it is not there or not understood."""
    for number, word in enumerate(options):
        name, _, value = word.partition("=")
        if name in ("--time", "-t"):
            return _seconds(value or "".join(options[number + 1 : number + 2]))
        if re.match(r"-t\d", word):
            return _seconds(word[2:])
    return None


def _seconds(text: str) -> float | None:
    """Return the seconds of sbatch's ``[days-]hours:minutes:seconds`` and its shorter forms."""
    days, dash, rest = text.rpartition("-")
    parts = rest.split(":")
    if not all(map(str.isdecimal, [*parts, days if dash else "0"])) or len(parts) > 3:
        return None
    numbers = [int(part) for part in parts]
    if dash:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, minutes, seconds = (0, *numbers, 0)[:3]
    # None at all is no limit.
    return float(((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds) or None
