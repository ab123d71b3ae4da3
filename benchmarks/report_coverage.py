"""How often a report's 95 % intervals hold the truth: synthetic campaigns through the real code.

Each campaign lies on disk as 42 records: two arms, 7 configurations of two hyper-parameters, 3
blocks. Amounts are log-normal around laws that are known here: a power of each hyper-parameter, the
load's ratio (which itself depends on the learning rate), a deviation of each configuration, and the
noise of each run. `python -m benchmarks.report_coverage` prints how many intervals held the truth,
and fails where one is outside 90 to 98 %.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

from benchmarks.campaigns import Campaign, Figures
from wattest.report.answers import answer
from wattest.report.model import Estimate, Study
from wattest.report.reading import read_runs

CONFIGURATIONS, BLOCKS = 7, 3
RUN_NOISE, CONFIGURATION_NOISE = 0.02, 0.01
METRIC_NOISE = 0.3
NAMES = ("batch_size", "learning_rate")
MIDDLE = -5.5
"""Of log2 of the learning rates that are drawn; the load's effects below are those there."""
# By how much log2 of an amount grows with log2 of a name, alone; and what the load adds to that.
SLOPES = {
    "duration": (-0.2, 0.1, 0.02),
    "gpu_energy": (-0.1, 0.15, 0.03),
    "cpu_energy": (-0.15, 0.05, 0.0),
}
METRIC_SLOPES = (0.2, 0.5, -0.1)
RATIOS = {"duration": 1.2, "gpu_energy": 1.3, "cpu_energy": 1.1}
METRIC_DIFFERENCE = -0.4
BASE = {"duration": 60.0, "gpu_energy": 12000.0, "cpu_energy": 3000.0}
METRIC = "metric:accuracy"
LEAST, MOST = 0.90, 0.98


def coverage(campaigns: int, seed: int) -> dict[str, tuple[int, int]]:
    """Return, for each interval, how many held the truth of how many there were."""
    held: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for number in range(campaigns):
        with tempfile.TemporaryDirectory() as name:
            _leave(Path(name), Random(f"{seed} {number}"))
            (study,) = answer(read_runs([Path(name)])).studies
        for name, estimate, truth in _checked(study):
            seen[name] += 1
            if estimate.low is not None and estimate.high is not None:
                held[name] += estimate.low <= truth <= estimate.high
    return {name: (held[name], count) for name, count in seen.items()}


def _leave(folder: Path, random: Random) -> None:
    """Leave the records of one campaign."""
    campaign = Campaign(folder, repetitions=BLOCKS)
    places = [
        {"batch_size": 2 ** random.uniform(4, 8), "learning_rate": 2 ** random.uniform(-8, -3)}
        for _ in range(CONFIGURATIONS)
    ]
    laws = [_Law(place, random) for place in places]
    for block in range(1, BLOCKS + 1):
        for law in random.sample(laws, len(laws)):
            campaign.pair(
                law.place, law.run(random, 0), law.run(random, 1), repetition=block, block=block
            )


class _Law:
    """What one configuration costs and gives, but for the noise of its runs."""

    def __init__(self, place: Mapping[str, float], random: Random) -> None:
        self.place = place
        # Deviations of what runs alone, and of what the load does to it.
        self._deviations = {
            key: (random.gauss(0, CONFIGURATION_NOISE), random.gauss(0, CONFIGURATION_NOISE))
            for key in SLOPES
        }
        self._metric = (random.gauss(0, METRIC_NOISE / 2), random.gauss(0, METRIC_NOISE / 2))

    def run(self, random: Random, loaded: int) -> Figures:
        """Return one run, over the load where `loaded` is 1."""
        amounts = {key: self._amount(key, loaded, random) for key in SLOPES}
        batch, rate = (math.log2(self.place[name]) for name in NAMES)
        by_batch, by_rate, added = METRIC_SLOPES
        metric = 90 + by_batch * batch + by_rate * rate + self._metric[0]
        metric += loaded * (METRIC_DIFFERENCE + added * (rate - MIDDLE) + self._metric[1])
        return Figures(
            amounts["duration"],
            amounts["cpu_energy"],
            amounts["gpu_energy"],
            {"accuracy": metric + random.gauss(0, METRIC_NOISE)},
        )

    def _amount(self, key: str, loaded: int, random: Random) -> float:
        batch, rate = (math.log2(self.place[name]) for name in NAMES)
        by_batch, by_rate, added = SLOPES[key]
        alone, load = self._deviations[key]
        bits = by_batch * batch + by_rate * rate + loaded * added * (rate - MIDDLE)
        noise = alone + loaded * (math.log(RATIOS[key]) + load) + random.gauss(0, RUN_NOISE)
        return BASE[key] * 2**bits * math.exp(noise)


def _checked(study: Study) -> Iterator[tuple[str, Estimate, float]]:
    """Yield (name, estimate, truth) of every interval that is checked.

    That of the load is its mean over all configurations that could have been drawn.
    """
    for row in study.load_rows:
        key = row.quantity.key
        if key in SLOPES:
            yield f"load {key}", row.estimate, RATIOS[key]
        elif key == METRIC:
            yield "load metric", row.estimate, METRIC_DIFFERENCE
    for line in study.hyperparameters:
        at = NAMES.index(line.name)
        loaded = line.arm == "parallel" and at == 1
        for effect in line.effects:
            key = effect.quantity.key
            if key not in SLOPES and key != METRIC:
                continue
            slopes = METRIC_SLOPES if key == METRIC else SLOPES[key]
            bits = slopes[at] + loaded * slopes[2]
            truth = bits if key == METRIC else 2**bits
            yield f"{line.arm} {line.name} {key}", effect.estimate, truth
            if effect.power is not None:
                time = SLOPES["duration"]
                power = bits - time[at] - loaded * time[2]
                yield f"{line.arm} {line.name} power of {key}", effect.power, 2**power
            if effect.change is not None and line.arm == "alone":
                change = slopes[2] if at == 1 else 0.0
                truth = change if key == METRIC else 2**change
                yield f"load's change of {line.name} {key}", effect.change, truth


def main() -> int:
    """Print the coverage of every interval; return 1 where one is not what it says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--campaigns", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    failed = 0
    for name, (held, count) in coverage(options.campaigns, options.seed).items():
        share = held / count
        is_sound = LEAST <= share <= MOST
        failed += not is_sound
        print(f"{name:45} {held:4} of {count:4}  {share:.3f}{'' if is_sound else '  OUTSIDE'}")
    print(f"{failed} intervals outside {LEAST:.0%} to {MOST:.0%}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
