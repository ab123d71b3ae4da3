"""Guesses at what was meant where a name is unknown."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence

_NEAR = 0.8

# Keys that other dialects of these files use for one of ours.
_DIALECTS = {
    "background": "bg load",
    "cooldown_seconds": "cooldown cool_down",
    "foreground": "fg",
    "hyperparameters": "fixed fixed_params fixed_hyperparams hparams params",
    "max_retries": "retries retry retry_count num_retries max_attempts",
    "model": "network",
    "mutate": "mutation mutations mutation_list mutation_params params_to_mutate mutated_params"
    " mutated_hyperparameters hyperparams_to_mutate hyperparameters_to_mutate",
    "repetitions": "repeat repeats num_repeats n_repeats num_repetitions reps",
    "runs_per_config": "num_mutations num_mutants n_mutants runs num_runs n_runs"
    " runs_per_experiment",
    "seed": "random_state root_seed random_seed",
    "timeout_seconds": "timeout_minutes timeout_hours",
    "use_deduplication": "dedup deduplicate deduplication",
}
_SYNONYMS = {word: key for key, words in _DIALECTS.items() for word in words.split()}
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
    """Return a sentence that suggests the name meant by `word` or lists those that exist.

    Names that may look alike, since not all of their letters are plain ones, are spelled out.
    """
    plain = {unicodedata.normalize("NFKC", name): name for name in known}
    close = difflib.get_close_matches(unicodedata.normalize("NFKC", word), plain, n=1, cutoff=0.5)
    listed = f"known: {', '.join(known) if known else 'none'}"
    if not close:
        return listed
    meant = plain[close[0]]
    spelled = "" if (word + meant).isascii() else f" as {meant!a}, here it is {word!a}"
    return f"did you mean {meant!r}{spelled}? ({listed})"
