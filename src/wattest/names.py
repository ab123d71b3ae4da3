"""Names and digests by which things are known outside of this process."""

from __future__ import annotations

import hashlib
import json
import re


def slug(text: str) -> str:
    """Return `text` as one safe part of a file name or test id."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip(".")[:80] or "_"


def digest_of(value: object) -> str:
    """Return 64 bits of the SHA-256 of a JSON value, as hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
