"""Settings: what the user asks for, read from one JSON file and checked against the registry."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from wattest.config.design import Design
from wattest.config.jsonfile import Keys, read_json
from wattest.config.registry import Registry
from wattest.config.request import RequestReader, TrainingRequest
from wattest.config.schema import defaults_of, properties_of, written_faults
from wattest.errors import ConfigurationError, Fault, json_path
from wattest.names import digest_of


@dataclass(frozen=True)
class Limits:
    """How far one experiment may go.

    `startup_seconds` are those of its background load; `gpu_memory_limit_mb` binds each training;
    the load alone is measured for `load_seconds` where nothing tells how long its partner takes.
    """

    max_retries: int
    timeout_seconds: float
    startup_seconds: float
    gpu_memory_limit_mb: int | None
    load_seconds: float = 60.0


@dataclass(frozen=True)
class Entry:
    """One entry of `experiments`: a training, for parallel mode with its background loads.

    `runs_per_config` is None where neither the entry nor the file says it; where none says its
    design, `is_design_said` is false, and it is `random`. `arms` are those beside the parallel one:
    `alone`, `load`.
    """

    path: str
    mode: str
    foreground: TrainingRequest
    backgrounds: tuple[TrainingRequest, ...]
    runs_per_config: int | None
    design: Design
    is_design_said: bool
    repetitions: int
    arms: tuple[str, ...]
    limits: Limits


@dataclass(frozen=True)
class Settings:
    """A whole settings file; `digest` is that of all it says but for free text."""

    file: str
    experiment_name: str
    governor: str | None
    seed: int | None
    use_deduplication: bool
    historical_csvs: tuple[str, ...]
    order: str | None
    idle_baseline_seconds: float
    idle: str
    cooldown_seconds: float
    cooldown_limit_seconds: float
    entries: tuple[Entry, ...]
    digest: str
    warnings: tuple[str, ...] = ()


# The part of a file in which a fault lies: an entry, or another key at its top.
_PART = re.compile(r"\$\.experiments\[\d+\]|\$\.\w+")
# By what `baseline` says in a file.
_ARMS: Mapping[bool | str, tuple[str, ...]] = {
    False: (),
    True: ("alone",),
    "alone": ("alone",),
    "load": ("load",),
    "both": ("alone", "load"),
}


def load_settings(path: Path, registry: Registry, shown: str | None = None) -> Settings:
    """Read the settings file at `path`; `shown` names it in faults and warnings.

    Raises:
        ConfigurationError: one line for every fault, all at once.
    """
    shown = shown or str(path)
    return _Reader(read_json(path, shown), registry, shown).settings()


class _Reader:
    """Collects all faults and warnings of one file while it builds the settings."""

    def __init__(self, data: dict[str, Any], registry: Registry, shown: str) -> None:
        self._shown = shown
        self._whole = data
        errors, self._warnings = written_faults(data, "settings", shown, _elsewhere())
        self._errors = dict.fromkeys(errors)
        self._broken = {found[0] for one in errors if (found := _PART.match(one.path))}
        self._data = {key: one for key, one in data.items() if json_path([key]) not in self._broken}
        self._said = ChainMap(self._data, defaults_of("settings"))
        self._requests = RequestReader(registry, self._fault, self._warn)

    def settings(self) -> Settings:
        entries = self._entries()
        self._check_session()
        said = self._said
        if self._errors:
            raise ConfigurationError(self._errors)
        plain: dict[str, Any] = {one.name: said.get(one.name) for one in fields(Settings)}
        plain |= {
            "file": self._shown,
            "experiment_name": said.get("experiment_name", Path(self._shown).stem),
            "historical_csvs": tuple(said.get("historical_csvs", ())),
            "entries": entries,
            "digest": digest_of(self._whole),
            "warnings": tuple(map(str, self._warnings)),
        }
        return Settings(**plain)

    def _entries(self) -> tuple[Entry, ...]:
        """Read the entries that the schema found sound."""
        written = self._whole.get("experiments")
        entries = [
            self._entry(("experiments", index), entry)
            for index, entry in enumerate(written if isinstance(written, list) else ())
            if json_path(["experiments", index]) not in self._broken
        ]
        return tuple(entry for entry in entries if entry is not None)

    def _fault(self, keys: Keys, text: str) -> None:
        self._errors[Fault(self._shown, json_path(keys), text)] = None

    def _warn(self, keys: Keys, text: str) -> None:
        self._warnings.append(Fault(self._shown, json_path(keys), text))

    def _check_session(self) -> None:
        least, most = self._said["cooldown_seconds"], self._said["cooldown_limit_seconds"]
        if least > most:
            self._fault(("cooldown_seconds",), f"is above cooldown_limit_seconds ({most:g} s)")
        if self._said.get("historical_csvs") and not self._said["use_deduplication"]:
            text = "is not used unless use_deduplication is true"
            self._warn(("historical_csvs",), text)

    def _entry(self, keys: Keys, entry: dict[str, Any]) -> Entry | None:
        before = len(self._errors)
        mode = self._mode(keys, entry)
        parallel = mode == "parallel"
        if parallel:
            self._check_parallel(keys, entry)
        else:
            self._check_single(keys, entry, mode)
        place = (*keys, "foreground") if parallel else keys
        training = entry.get("foreground", {}) if parallel else entry
        request = None
        if {"repo", "model"} <= training.keys():
            request = self._requests.read(place, training, is_load=False)
        backgrounds = [self._requests.read(*one, is_load=True) for one in _backgrounds(keys, entry)]
        if request is None or len(self._errors) > before:
            return None
        # The first that says it counts: the entry, then its foreground, then the file.
        written = ChainMap(entry, training, self._data)
        said = ChainMap(*written.maps, defaults_of("settings"))
        for keys_of, layer in ((keys, entry), (place, training)):
            if "design" in layer and not request.mutate:
                text = 'spreads mutants, and nothing is mutated; add "mutate", or remove it'
                self._fault((*keys_of, "design"), text)
        limits: dict[str, Any] = {one.name: said.get(one.name) for one in fields(Limits)}
        return Entry(
            path=json_path(keys),
            mode=mode,
            foreground=request,
            backgrounds=tuple(one for one in backgrounds if one is not None),
            runs_per_config=written.get("runs_per_config"),
            design=Design.of(said.get("design", "random"), request.program.hyperparameters),
            is_design_said="design" in written,
            repetitions=said["repetitions"],
            arms=_ARMS[said["baseline"]] if parallel else (),
            limits=Limits(**limits),
        )

    def _mode(self, keys: Keys, entry: Mapping[str, Any]) -> str:
        stated: str | None = entry.get("mode") or self._data.get("mode")
        if stated == "mixed":
            self._fault(keys, 'lacks "mode", which the file\'s mode "mixed" leaves to each entry')
        elif stated is not None:
            return stated
        if "foreground" in entry or "background" in entry:
            return "parallel"
        return "mutation" if "mutate" in entry else "default"

    def _check_parallel(self, keys: Keys, entry: Mapping[str, Any]) -> None:
        for name in ("foreground", "background"):
            if name not in entry:
                self._fault(keys, f"is a parallel experiment and lacks {name!r}; add it")
        for name in ("mutate", "hyperparameters"):
            if name in entry:
                self._fault((*keys, name), "belongs into the foreground of a parallel experiment")
        for place, background in _backgrounds(keys, entry):
            if "mutate" in background:
                text = "the load is not mutated; fix its values in hyperparameters"
                self._fault((*place, "mutate"), text)
        foreground = entry.get("foreground")
        if foreground is None:
            return
        self._check_mutate((*keys, "foreground"), foreground, foreground.get("mode"))
        for name in ("repo", "model"):
            if entry.get(name, "placeholder") not in ("placeholder", foreground[name]):
                text = f"is ignored: the foreground trains {foreground[name]!r}"
                self._warn((*keys, name), text)

    def _check_single(self, keys: Keys, entry: Mapping[str, Any], mode: str) -> None:
        for name in ("foreground", "background"):
            if name in entry:
                text = f'does not go with mode {mode!r}; set "mode": "parallel"'
                self._fault((*keys, name), text)
        for name in ("repo", "model"):
            if name not in entry:
                self._fault(keys, f"lacks {name!r}; add it")
        if entry.get("baseline"):
            self._warn((*keys, "baseline"), "is ignored: only a parallel experiment has a load")
        self._check_mutate(keys, entry, mode)

    def _check_mutate(self, keys: Keys, training: Mapping[str, Any], mode: str | None) -> None:
        if mode == "mutation" and "mutate" not in training:
            text = 'has mode "mutation" and lacks "mutate"; name what to mutate, or ["all"]'
            self._fault(keys, text)
        if mode == "default" and "mutate" in training:
            text = 'does not go with mode "default"; set "mode": "mutation", or remove it'
            self._fault((*keys, "mutate"), text)


def _backgrounds(keys: Keys, entry: Mapping[str, Any]) -> list[tuple[Keys, Any]]:
    """Return (keys, background) for the one background of an entry, or for each of its list."""
    background = entry.get("background")
    if isinstance(background, list):
        return [((*keys, "background", index), one) for index, one in enumerate(background)]
    return [] if background is None else [((*keys, "background"), background)]


def _elsewhere() -> dict[str, str]:
    """Return where else a key has a meaning; `mutate` in a load is told about in better words."""
    places = dict.fromkeys(properties_of("settings"), "at the top of the file")
    places |= dict.fromkeys(properties_of("settings", "entry"), "beside the foreground")
    del places["mutate"]
    return places
