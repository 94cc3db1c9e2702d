"""An order that looks random, and is the same for ever."""

from __future__ import annotations

import hashlib


def order_of(key: str) -> int:
    """Map a key to [0, 2^64), evenly."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
