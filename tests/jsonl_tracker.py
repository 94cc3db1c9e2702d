"""A tracker that writes to a file, for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from polydistill.contracts import Tracker


class JsonlTracker(Tracker):
    """Appends one JSON object per call to the file `path`."""

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
