"""A pseudo-random order that depends on the keys alone."""

from __future__ import annotations

import hashlib


def order_of(key: str) -> int:
    """Return a hash of a key, uniform in [0, 2^64)."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
