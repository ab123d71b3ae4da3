"""Settings: what the user asks for, read from one JSON file and checked against the registry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.config.design import RANDOM, Design, parse_design
from wattest.config.jsonfile import Keys, drop_remarks, read_json
from wattest.config.registry import Registry
from wattest.config.request import RequestReader, TrainingRequest
from wattest.config.schema import load_schema, schema_faults, unknown_keys
from wattest.errors import ConfigurationError, Fault, json_path

DEFAULT_TIMEOUT_SECONDS = 36000.0
DEFAULT_STARTUP_SECONDS = 5.0
DEFAULT_MAX_RETRIES = 2
_DESIGN_OF_ENTRY = re.compile(r"\$\.experiments\[\d+\](\.foreground)?\.design")


@dataclass(frozen=True)
class Entry:
    """One entry of `experiments`: a training, for parallel mode with its background loads.

    `runs_per_config` is None where neither the entry nor the file says it.
    """

    path: str
    mode: str
    foreground: TrainingRequest
    backgrounds: tuple[TrainingRequest, ...]
    runs_per_config: int | None
    design: Design
    repetitions: int
    baseline: bool
    max_retries: int
    timeout_seconds: float
    startup_seconds: float
    gpu_memory_limit_mb: int | None


@dataclass(frozen=True)
class Settings:
    """A whole settings file."""

    file: str
    experiment_name: str
    governor: str | None
    seed: int | None
    use_deduplication: bool
    historical_csvs: tuple[str, ...]
    order: str | None
    idle_baseline_seconds: float
    cooldown_seconds: float
    cooldown_limit_seconds: float
    entries: tuple[Entry, ...]
    document: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


def load_settings(path: Path, registry: Registry, shown: str | None = None) -> Settings:
    """Read the settings file at `path`; `shown` names it in faults and warnings.

    Raises:
        ConfigurationError: one line for every fault, all at once.
    """
    shown = shown or str(path)
    data = read_json(path, shown)
    drop_remarks(data)
    return _Reader(data, registry, shown).settings()


class _Reader:
    """Collects all faults and warnings of one file while it builds the settings."""

    def __init__(self, data: dict[str, Any], registry: Registry, shown: str) -> None:
        self.data = data
        self.shown = shown
        self.errors: list[Fault] = []
        self.warnings: list[Fault] = []
        self.schema = load_schema("settings")
        self._requests = RequestReader(registry, self._fault, self._warn)

    def settings(self) -> Settings:
        self._report_unknown()
        # Of a design, `parse_design` knows better what is wrong.
        faults = schema_faults(self.data, "settings", self.shown)
        self.errors += [one for one in faults if not _DESIGN_OF_ENTRY.fullmatch(one.path)]
        data = self.data
        places = [json_path(("experiments", index)) for index in range(len(self._written()))]
        broken = {place for place in places for one in self.errors if _lies_in(place, one.path)}
        if any(not any(_lies_in(place, one.path) for place in places) for one in self.errors):
            raise ConfigurationError(self.errors)
        entries = [
            self._entry(("experiments", index), entry)
            for index, entry in enumerate(data["experiments"])
            if places[index] not in broken
        ]
        self._check_session()
        if self.errors:
            raise ConfigurationError(self.errors)
        return Settings(
            file=self.shown,
            experiment_name=data.get("experiment_name", Path(self.shown).stem),
            governor=data.get("governor"),
            seed=data.get("seed"),
            use_deduplication=data.get("use_deduplication", False),
            historical_csvs=tuple(data.get("historical_csvs", ())),
            order=data.get("order"),
            idle_baseline_seconds=data.get("idle_baseline_seconds", 0.0),
            cooldown_seconds=data.get("cooldown_seconds", 0.0),
            cooldown_limit_seconds=data.get("cooldown_limit_seconds", 600.0),
            entries=tuple(entry for entry in entries if entry is not None),
            document=data,
            warnings=tuple(map(str, self.warnings)),
        )

    def _fault(self, keys: Keys, text: str) -> None:
        self.errors.append(Fault(self.shown, json_path(keys), text))

    def _warn(self, keys: Keys, text: str) -> None:
        self.warnings.append(Fault(self.shown, json_path(keys), text))

    def _written(self) -> list[Any]:
        experiments = self.data.get("experiments")
        return experiments if isinstance(experiments, list) else []

    def _report_unknown(self) -> None:
        """Check the keys of every level before their values: a wrong name explains the rest."""
        definitions = self.schema["$defs"]
        levels: list[tuple[Keys, object, Mapping[str, Any]]] = [((), self.data, self.schema)]
        for index, entry in enumerate(self._written()):
            place: Keys = ("experiments", index)
            levels.append((place, entry, definitions["entry"]))
            if not isinstance(entry, dict):
                continue
            levels.append(
                ((*place, "foreground"), entry.get("foreground"), definitions["foreground"])
            )
            for keys, background in _backgrounds(entry, place):
                levels.append((keys, background, definitions["background"]))
        elsewhere = dict.fromkeys(self.schema["properties"], "at the top of the file")
        elsewhere |= dict.fromkeys(definitions["entry"]["properties"], "beside the foreground")
        del elsewhere["mutate"]
        for keys, mapping, definition in levels:
            if isinstance(mapping, dict):
                known = list(definition["properties"])
                places = elsewhere if keys else None
                errors, warnings = unknown_keys(mapping, known, keys, self.shown, places)
                self.errors += errors
                self.warnings += warnings

    def _check_session(self) -> None:
        least, most = (self.data.get(f"cooldown_{name}seconds") for name in ("", "limit_"))
        if least is not None and least > (600.0 if most is None else most):
            text = f"is above cooldown_limit_seconds ({600.0 if most is None else most:g} s)"
            self._fault(("cooldown_seconds",), text)
        if self.data.get("historical_csvs") and not self.data.get("use_deduplication"):
            text = "is not used unless use_deduplication is true"
            self._warn(("historical_csvs",), text)

    def _entry(self, keys: Keys, entry: Mapping[str, Any]) -> Entry | None:
        mode = self._mode(keys, entry)
        if mode is None:
            return None
        parallel = mode == "parallel"
        before = len(self.errors)
        if parallel:
            foreground_keys, foreground = (*keys, "foreground"), entry.get("foreground")
            self._check_parallel_keys(keys, entry)
        else:
            foreground_keys, foreground = keys, entry
            self._check_single_keys(keys, entry, mode)
        if len(self.errors) > before or foreground is None:
            return None
        request = self._requests.read(foreground_keys, foreground)
        backgrounds = [
            self._requests.read(place, background)
            for place, background in _backgrounds(entry, keys)
        ]
        if request is None or None in backgrounds:
            return None
        layers = [entry, foreground, self.data] if parallel else [entry, self.data]
        return Entry(
            path=json_path(keys),
            mode=mode,
            foreground=request,
            backgrounds=tuple(background for background in backgrounds if background is not None),
            runs_per_config=_first(layers, "runs_per_config", None),
            design=self._design(keys, foreground_keys, layers),
            repetitions=_first(layers, "repetitions", 1),
            baseline=parallel and _first(layers, "baseline", False),
            max_retries=_first(layers, "max_retries", DEFAULT_MAX_RETRIES),
            timeout_seconds=_first(layers, "timeout_seconds", DEFAULT_TIMEOUT_SECONDS),
            startup_seconds=_first(layers, "startup_seconds", DEFAULT_STARTUP_SECONDS),
            gpu_memory_limit_mb=_first(layers, "gpu_memory_limit_mb", None),
        )

    def _design(
        self, keys: Keys, foreground_keys: Keys, layers: Sequence[Mapping[str, Any]]
    ) -> Design:
        places = [keys, foreground_keys, ()] if len(layers) == 3 else [keys, ()]
        for place, layer in zip(places, layers, strict=True):
            if "design" in layer:
                if place and not any("mutate" in one for one in layers):
                    text = 'spreads mutants, and nothing is mutated; add "mutate", or remove it'
                    self._fault((*place, "design"), text)
                design = parse_design(layer["design"], (*place, "design"), self.shown)
                if isinstance(design, Design):
                    return design
                self.errors += [fault for fault in design if fault not in self.errors]
                break
        return RANDOM

    def _mode(self, keys: Keys, entry: Mapping[str, Any]) -> str | None:
        stated = entry.get("mode") or self.data.get("mode")
        if stated == "mixed":
            self._fault(keys, 'lacks "mode", which the file\'s mode "mixed" leaves to each entry')
            return None
        if stated is not None:
            return str(stated)
        if "foreground" in entry or "background" in entry:
            return "parallel"
        return "mutation" if "mutate" in entry else "default"

    def _check_parallel_keys(self, keys: Keys, entry: Mapping[str, Any]) -> None:
        for name in ("foreground", "background"):
            if name not in entry:
                self._fault(keys, f"is a parallel experiment and lacks {name!r}; add it")
        for place, background in _backgrounds(entry, keys):
            if "mutate" in background:
                text = "the load is not mutated; fix its values in hyperparameters"
                self._fault((*place, "mutate"), text)
        for name in ("mutate", "hyperparameters"):
            if name in entry:
                self._fault((*keys, name), "belongs into the foreground of a parallel experiment")
        foreground = entry.get("foreground")
        if foreground is None:
            return
        self._check_mutate((*keys, "foreground"), foreground, foreground.get("mode"))
        for name in ("repo", "model"):
            if entry.get(name, "placeholder") not in ("placeholder", foreground[name]):
                text = f"is ignored: the foreground trains {foreground[name]!r}"
                self._warn((*keys, name), text)

    def _check_single_keys(self, keys: Keys, entry: Mapping[str, Any], mode: str) -> None:
        for name in ("foreground", "background"):
            if name in entry:
                self._fault(
                    (*keys, name), f'does not go with mode {mode!r}; set "mode": "parallel"'
                )
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


def _backgrounds(entry: Mapping[str, Any], keys: Keys) -> list[tuple[Keys, Any]]:
    """Return (keys, background) for the one background of an entry, or for each of its list."""
    background = entry.get("background")
    if isinstance(background, list):
        return [((*keys, "background", index), one) for index, one in enumerate(background)]
    return [] if background is None else [((*keys, "background"), background)]


def _lies_in(place: str, path: str) -> bool:
    """Tell whether a JSON path is `place` or lies inside it."""
    return path == place or path.startswith((f"{place}.", f"{place}["))


def _first(layers: Sequence[Mapping[str, Any]], key: str, default: Any) -> Any:
    return next((layer[key] for layer in layers if key in layer), default)
