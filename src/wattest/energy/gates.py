"""The gates of the verdict that concern energy: pure functions from figures to reasons.

A gate returns None when it has nothing to say. Whether its reason flags or makes an attempt invalid
is said by the list that it is put into; where both may be, it returns a `Verdict`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wattest.energy import design
from wattest.energy.machine import MachineCpu
from wattest.energy.schedule import Schedule
from wattest.energy.types import Reason

Verdict = tuple[Reason | None, Reason | None]
"""A fault, and a flag."""


def window_is_short(seconds: float) -> Reason | None:
    """Flag a window in which the edges of the counters weigh much."""
    least = design.WINDOW_FLAG_SECONDS
    if seconds >= least:
        return None
    text = f"the window of {seconds:.2f} s is shorter than {least:g} s: the edges weigh much"
    return Reason("window_short", text, None, seconds, least)


def too_few_periods(
    domain: str, label: str, seconds: float, period_seconds: float | None
) -> Reason | None:
    """Refuse a window of too few update periods of its counter; an unknown period passes."""
    if not period_seconds:
        return None
    periods, least = seconds / period_seconds, design.WINDOW_REFUSE_PERIODS
    if periods >= least:
        return None
    text = (
        f"{label}: the window of {seconds:.2f} s is shorter than {least:g} update periods "
        f"({period_seconds * 1e3:.3g} ms each) of the counter"
    )
    return Reason("window_short", text, domain, periods, least)


def mean_power(
    domain: str, label: str, watts: float, idle_watts: float | None, limit_watts: float | None
) -> Reason | None:
    """Refuse a mean power that the hardware cannot have had; an unknown idle or limit passes."""
    most = (limit_watts or 0.0) * design.MEAN_POWER_LIMIT_RATIO_MAX
    least = (idle_watts or 0.0) * design.MEAN_POWER_IDLE_RATIO_MIN
    text = f"{label}: a mean power of {watts:.1f} W is"
    if limit_watts and watts > most:
        text += f" above its limit of {limit_watts:.1f} W"
        return Reason("power_range", text, domain, watts, most)
    if watts < least:
        text += f" far below its {idle_watts:.1f} W idle"
        return Reason("power_range", text, domain, watts, least)
    return None


def edge_slack(domain: str, label: str, slack_seconds: float, seconds: float) -> Verdict:
    """Judge how far the readings at the edges lie outside the window that they stand for."""
    percent = 100 * slack_seconds / max(1e-9, seconds)
    missed = f"{slack_seconds:.3f} s, {percent:.1f} % of the window"
    reason = f"{label}: the readings at its edges missed them by {missed}", domain, percent
    if percent > design.EDGE_SLACK_INVALID_PERCENT:
        return Reason("edge_slack", *reason), None
    least = design.EDGE_SLACK_FLAG_PERCENT
    return None, Reason("edge_slack", *reason, least) if percent > least else None


def sampling(
    domain: str, label: str, schedule: Schedule, longest_gap_seconds: float
) -> tuple[Reason, ...]:
    """Flag samples that are missing, and gaps between them.

    A gap is one that exceeds the threshold and half a period more than the nominal one.
    """
    found: list[Reason] = []
    expected, least = schedule.expected(), design.SAMPLE_SHARE_FLAG_PERCENT
    share = 100.0 * schedule.samples / expected if expected else 100.0
    if share < least:
        text = f"{label}: only {share:.1f} % of the expected samples were taken"
        found.append(Reason("sampling_share", text, domain, share, least))
    longest = design.SAMPLE_GAP_FLAG_SECONDS
    if longest_gap_seconds > max(longest, 1.5e-9 * schedule.period_ns):
        text = f"{label}: {longest_gap_seconds:.2f} s passed without a sample"
        found.append(Reason("sampling_gap", text, domain, longest_gap_seconds, longest))
    return tuple(found)


def counter_against_integral(
    label: str,
    counter_joules: float,
    integral_joules: float,
    second_opinion: tuple[float, float] | None,
) -> Verdict:
    """Compare a GPU's counter with its integrated power.

    `second_opinion` is the energy by a second power reading, and how far that may be off. Where it
    bears the counter out, or where a GPU has none (as the GA100), a fault becomes a flag: sampled
    power may alias with the steps of a training, the counter does not.
    """
    if counter_joules <= 0:
        return None, None
    percent = 100.0 * (integral_joules / counter_joules - 1.0)
    text = f"{label}: integrated power deviates from the counter by {percent:+.1f} %"
    fault, flag = _deviation("counter_integral", text, percent, abs(percent))
    joules, doubt_joules = second_opinion or (counter_joules, 0.0)
    off_joules = abs(joules - counter_joules) + doubt_joules
    if fault and off_joules <= counter_joules * design.COUNTER_INTEGRAL_INVALID_PERCENT / 100:
        least = design.COUNTER_INTEGRAL_FLAG_PERCENT
        return None, Reason("counter_integral", text, "gpu", percent, least)
    return fault, flag


def compare_readings(
    label: str,
    first_joules: float,
    second_joules: float,
    doubt_joules: float,
    missing_percent: float,
) -> Verdict:
    """Compare the integrals of the two power readings of a GPU without a counter.

    The first looks at a part of the time only; the second is a running average, which cannot alias
    but lags behind: the two may differ by `doubt_joules` without a fault. It may miss a share of
    the window, too much of which is flagged.
    """
    most = design.INTEGRAL_GAP_INVALID_PERCENT
    if missing_percent > most:
        text = f"its second power reading misses {missing_percent:.1f} % of the window"
        text = f"{label}: {text}: not compared"
        return None, Reason("power_readings", text, "gpu", missing_percent, most)
    base_joules = second_joules if second_joules > 0 else first_joules
    if base_joules <= 0:
        return None, None
    percent = 100 * (first_joules - second_joules) / base_joules
    text = f"{label}: aliasing: its two power readings disagree by {percent:+.1f} %"
    sure_percent = abs(percent) - 100 * doubt_joules / base_joules
    return _deviation("power_readings", text, percent, sure_percent)


def _deviation(gate: str, text: str, percent: float, sure_percent: float) -> Verdict:
    """Refuse or flag a deviation of `percent`, of which so much is beyond doubt."""
    most = design.COUNTER_INTEGRAL_INVALID_PERCENT
    least = design.COUNTER_INTEGRAL_FLAG_PERCENT
    if sure_percent > most:
        return Reason(gate, text, "gpu", percent, most), None
    return None, Reason(gate, text, "gpu", percent, least) if sure_percent > least else None


def integral_gap(
    label: str, gap_seconds: float, window_seconds: float, period_seconds: float
) -> Verdict:
    """Judge the longest time without a power reading of a GPU without a counter.

    A gap is one that exceeds the nominal period by half of it.
    """
    most, least = design.INTEGRAL_GAP_INVALID_PERCENT, design.INTEGRAL_GAP_FLAG_PERCENT
    share = 100 * gap_seconds / window_seconds
    text = f"{label}: {gap_seconds:.2f} s without a power reading"
    if share > most:
        return Reason("integral_gap", f"{text} cannot be integrated", "gpu", share, most), None
    if share <= least or gap_seconds <= 1.5 * period_seconds:
        return None, None
    text += f", {share:.1f} % of the window, were bridged by a straight line"
    return None, Reason("integral_gap", text, "gpu", share, least)


def throttling(label: str, seconds: Mapping[str, float | None]) -> tuple[Reason, ...]:
    """Flag thermal and hardware-brake throttling: seconds by cause, None where not known.

    The older counter of thermal slowdown may tell the same event as the newer two: where one of
    these speaks, it is silent.
    """
    most = design.THROTTLE_FLAG_SECONDS
    flagged = {cause: spent for cause, spent in seconds.items() if spent and spent > most}
    flagged.pop("power cap", None)
    if any(f"thermal slowdown by {what}ware" in flagged for what in ("soft", "hard")):
        flagged.pop("thermal slowdown", None)
    return tuple(
        Reason("throttling", f"{label}: {cause} for {spent:.3f} s", "gpu", spent, most)
        for cause, spent in flagged.items()
    )


def superchip(label: str, scope: str | None) -> Reason | None:
    """Say of a counter that does not stand for its board alone what it covers."""
    if scope not in ("module", "unknown"):
        return None
    what = "covers" if scope == "module" else "may cover"
    text = f"{label}: its energy counter {what} the module of a superchip, the CPU included"
    rest = "its power was integrated" if scope == "module" else "never add it to that of the CPU"
    return Reason("gpu_scope", f"{text}: {rest}", "gpu")


def other_cpu_load(
    machine_busy_seconds: float, own_busy_seconds: float, capacity_seconds: float
) -> Reason | None:
    """Flag CPU time of the machine that neither the experiment, its load nor the harness used.

    `capacity_seconds` is the duration times the number of CPUs.
    """
    if capacity_seconds <= 0:
        return None
    share = 100.0 * (machine_busy_seconds - own_busy_seconds) / capacity_seconds
    most = design.OTHER_CPU_LOAD_FLAG_PERCENT
    if share <= most:
        return None
    text = f"other CPU load took {share:.1f} % of the machine"
    return Reason("other_cpu_load", text, None, share, most)


def stolen_time(cpu: MachineCpu) -> Reason | None:
    """Flag time that a hypervisor gave to others while something here was ready to run."""
    percent = 100 * cpu.stolen_seconds / max(1e-9, cpu.capacity_seconds)
    most = design.STOLEN_TIME_FLAG_PERCENT
    text = f"the hypervisor stole {percent:.1f} % of the machine's CPU time"
    return Reason("stolen_time", text, None, percent, most) if percent > most else None


def machine_slept(seconds: float) -> Reason | None:
    """Refuse a window in which the machine slept."""
    text = f"the machine slept for {seconds:.1f} s within the window"
    most = design.SLEEP_INVALID_SECONDS
    return Reason("machine_slept", text, None, seconds, most) if seconds > most else None


def wall_clock_stepped(seconds: float) -> Reason | None:
    """Flag a wall clock that was set within the window, by so many seconds forward or back."""
    text = f"the wall clock was set by {seconds:+.1f} s within the window"
    most = design.WALL_CLOCK_FLAG_SECONDS
    return Reason("wall_clock", text, None, seconds, most) if abs(seconds) > most else None


def foreign_gpu_processes(found: Mapping[int, str], own: Iterable[int]) -> Reason | None:
    """Flag processes on a GPU (its UUID by PID) that are not ours."""
    foreign = sorted(set(found) - set(own))
    if not foreign:
        return None
    names = ", ".join(f"{pid} on {found[pid]}" for pid in foreign)
    text = f"foreign processes on a GPU: {names}"
    return Reason("foreign_gpu_process", text, "gpu", len(foreign), 0)
