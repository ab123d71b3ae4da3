"""Faults in what a user wrote: where, what, and what to do; and guesses at what was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

_NEAR = 0.8

# Keys that other dialects of these files use for one of ours.
_SYNONYMS = {
    "num_mutations": "runs_per_config",
    "num_runs": "runs_per_config",
    "n_runs": "runs_per_config",
    "runs": "runs_per_config",
    "runs_per_experiment": "runs_per_config",
    "num_mutants": "runs_per_config",
    "n_mutants": "runs_per_config",
    "repeat": "repetitions",
    "num_repeats": "repetitions",
    "n_repeats": "repetitions",
    "num_repetitions": "repetitions",
    "repeats": "repetitions",
    "reps": "repetitions",
    "fixed": "hyperparameters",
    "fixed_params": "hyperparameters",
    "fixed_hyperparams": "hyperparameters",
    "hparams": "hyperparameters",
    "params": "hyperparameters",
    "mutation": "mutate",
    "mutation_list": "mutate",
    "params_to_mutate": "mutate",
    "hyperparams_to_mutate": "mutate",
    "hyperparameters_to_mutate": "mutate",
    "mutated_params": "mutate",
    "mutated_hyperparameters": "mutate",
    "mutations": "mutate",
    "mutation_params": "mutate",
    "retries": "max_retries",
    "retry": "max_retries",
    "retry_count": "max_retries",
    "num_retries": "max_retries",
    "max_attempts": "max_retries",
    "timeout_minutes": "timeout_seconds",
    "timeout_hours": "timeout_seconds",
    "cooldown": "cooldown_seconds",
    "cool_down": "cooldown_seconds",
    "dedup": "use_deduplication",
    "deduplicate": "use_deduplication",
    "deduplication": "use_deduplication",
    "random_state": "seed",
    "root_seed": "seed",
    "random_seed": "seed",
    "bg": "background",
    "fg": "foreground",
    "network": "model",
    "load": "background",
}


# Foreign keys that only look like one of ours.
_OTHERS = ("baseline_runs",)


def near_miss(word: str, known: Sequence[str]) -> str | None:
    """Return the known key that `word` most likely stands for, or None.

    A near miss is a synonym from another dialect, a longer or shorter form of a key
    (``mutate_params``, ``repository``), or a misspelling of it.
    """
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).lower().replace("-", "_").strip("_ ")
    lowered = {key.lower(): key for key in known}
    if plain in _OTHERS:
        return None
    if plain in lowered:
        return lowered[plain]
    if _SYNONYMS.get(plain) in known:
        return _SYNONYMS[plain]
    for lower, key in lowered.items():
        swapped_letters = sorted(plain) == sorted(lower)
        if swapped_letters or plain.startswith(f"{lower}_"):
            return key
    close = difflib.get_close_matches(plain, lowered, n=1, cutoff=_NEAR)
    if close:
        return lowered[close[0]]
    for lower, key in sorted(lowered.items(), key=lambda item: -len(item[0])):
        longer_form = plain.startswith(lower) and len(lower) >= 4
        shorter_form = lower.startswith(plain) and len(plain) >= 3
        if longer_form or shorter_form:
            return key
    return None


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return a sentence that suggests the name meant by `word` or lists those that exist."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    listed = ", ".join(known) if known else "none"
    if close:
        return f"did you mean {close[0]!r}? (known: {listed})"
    return f"known: {listed}"
