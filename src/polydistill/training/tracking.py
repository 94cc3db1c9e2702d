"""Who listens to a training run while it goes on: a protocol, nobody, and a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Tracker(Protocol):
    """Told of a run as it happens. What listens may be slow or down; it never fails the run."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Note the run's parameters; nested mappings are allowed."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Note `metrics` after optimiser step `step`; a name may be a path, `held_out/minilm-l6`."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Note facts that are known at the end, such as the student's sha256."""

    def close(self) -> None:
        """Pass on what is still held back, and stop listening."""


class NullTracker:
    """Listens to nothing: the default of every stage."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """See `Tracker.log_params`."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """See `Tracker.log_metrics`."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """See `Tracker.set_tags`."""

    def close(self) -> None:
        """See `Tracker.close`."""


class JsonlTracker:
    """Appends one JSON object a call to the file `path`: the tracker that needs no service."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def log_params(self, params: Mapping[str, object]) -> None:
        """See `Tracker.log_params`."""
        self._append({"params": dict(params)})

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """See `Tracker.log_metrics`."""
        self._append({"step": step, "metrics": dict(metrics)})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """See `Tracker.set_tags`."""
        self._append({"tags": dict(tags)})

    def close(self) -> None:
        """See `Tracker.close`. Every line is already in the file."""

    def _append(self, entry: Mapping[str, object]) -> None:
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(entry, sort_keys=True) + "\n")


def flatten(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return the leaves of nested mappings by their dotted path.

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
