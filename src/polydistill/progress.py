"""How a long stage says where it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told after each piece of work."""

    def __call__(self, what: str, done: int, total: int, **figures: float) -> None:
        """Say that `done` of `total` units of `what` are ready; `figures` are shown beside."""


def silent(what: str, done: int, total: int, **figures: float) -> None:
    """Listen to nothing: the default of every stage."""
