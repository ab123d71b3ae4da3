"""Names and digests by which things are known outside of this process."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterable


def host_name() -> str:
    """Return how this machine is called."""
    return os.uname().nodename


def slug(text: str) -> str:
    """Return `text` as one safe part of a file name or test id."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", composed(text)).strip(".")[:80] or "_"


def composed(text: str) -> str:
    """Return `text` with its accents in one piece with their letters, as most keyboards type them.

    Files made on a Mac have them apart (NFD); names that are equal once composed (NFC) are one.
    """
    return unicodedata.normalize("NFC", text)


def spellings(text: str) -> list[str]:
    """Return `text` and the other ways to encode it, each once."""
    return list(dict.fromkeys((text, composed(text), unicodedata.normalize("NFD", text))))


def same_name(text: str, known: Iterable[str]) -> str | None:
    """Return the one of the known names that `text` is, however its accents are encoded."""
    by_name = {name: name for name in known}
    by_sight = {composed(name): name for name in by_name}
    return by_name.get(text, by_sight.get(composed(text)))


def digest_of(value: object) -> str:
    """Return 64 bits of the SHA-256 of a JSON value, as hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
