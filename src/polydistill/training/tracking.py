"""Trackers of a training run: the protocol, one that does nothing, and one that writes a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Tracker(Protocol):
    """Records a run while it happens. A tracker may be slow or unreachable but must never fail the run."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record the run's parameters; nested mappings are allowed."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record `metrics` after optimiser step `step`; a name may be a path such as `held_out/minilm-l6`."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record facts known at the end of the run, such as the student's sha256."""

    def close(self) -> None:
        """Write pending records and close the tracker."""


class NullTracker:
    """Records nothing: the default of every stage."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """See `Tracker.log_params`."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """See `Tracker.log_metrics`."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """See `Tracker.set_tags`."""

    def close(self) -> None:
        """See `Tracker.close`."""


def flatten(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return the leaves of nested mappings by dotted path.

    Examples:
        >>> flatten({"seed": 0, "loss": {"name": "mse"}})
        {'seed': 0, 'loss.name': 'mse'}
    """
    leaves: dict[str, object] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            leaves |= flatten(value, f"{path}.")
        else:
            leaves[path] = value
    return leaves
