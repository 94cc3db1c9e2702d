"""Live logs of a training run in MLflow. A store that is down is a warning, never a failed training."""

from __future__ import annotations

import atexit
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from polydistill.integrations.mlflow.store import (
    errors_translated,
    experiment_id,
    import_mlflow,
    require_sound,
    tracking_uri,
)
from polydistill.training.tracking import Tracker, flatten

MAX_PARAMS, MAX_METRICS = 100, 1000  # MLflow's limits of one batch
MAX_VALUE = 6000
_log = logging.getLogger(__name__)


class MlflowTracker(Tracker):
    """See `tracking.Tracker`. Makes its run at the first call, and stops at the first failure.

    Args:
        root: The project folder.
        modality: Names the experiment.
    """

    def __init__(self, root: Path, modality: str) -> None:
        self._root = root
        self._modality = modality
        self._client: Any = None
        self._monitor: Any = None
        self._down = False
        self.run_id: str | None = None

    def log_params(self, params: Mapping[str, object]) -> None:
        """See `tracking.Tracker.log_params`."""
        self._guard(lambda: log_params(*self._run(), params))

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """See `tracking.Tracker.log_metrics`: one batch."""
        self._guard(lambda: log_metrics(*self._run(), {step: metrics}))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """See `tracking.Tracker.set_tags`."""
        self._guard(lambda: set_tags(*self._run(), tags))

    def close(self) -> None:
        """See `tracking.Tracker.close`."""
        self._end("FINISHED")

    def _run(self) -> tuple[Any, str]:
        """Return the client and the run, made at the first call."""
        if self.run_id is None:
            mlflow, uri = import_mlflow(), tracking_uri(self._root)
            require_sound(uri)
            self._client = mlflow.MlflowClient(uri, uri)
            experiment = experiment_id(self._client, self._root, self._modality)
            tags = {"modality": self._modality}
            self.run_id = self._client.create_run(experiment, tags=tags).info.run_id
            self._monitor = _watch_system(str(self.run_id), uri)
            atexit.register(self._end, "FAILED")  # unless `close` is first
        return self._client, str(self.run_id)

    def _end(self, status: str) -> None:
        atexit.unregister(self._end)
        if self._monitor is not None:
            self._guard(self._monitor.finish)
            self._monitor = None
        if self.run_id is not None:
            self._guard(lambda: self._client.set_terminated(self.run_id, status))
            self.run_id, self._down = None, True

    def _guard(self, call: Callable[[], object]) -> None:
        """Call, unless the store has failed before; the first failure is logged once."""
        if self._down:
            return
        try:
            with _translated(tracking_uri(self._root)):
                call()
        except Exception as error:  # noqa: BLE001 - whatever it is, training is worth more
            self._down = True
            _log.warning("Training continues without live tracking. %s", error)


def log_params(client: Any, run_id: str, params: Mapping[str, object]) -> None:
    """Log the leaves of nested parameters, in batches."""
    from mlflow.entities import Param

    leaves = [Param(_name(key), str(value)[:MAX_VALUE]) for key, value in flatten(params).items()]
    for start in range(0, len(leaves), MAX_PARAMS):
        client.log_batch(run_id, params=leaves[start : start + MAX_PARAMS])


def log_metrics(
    client: Any,
    run_id: str,
    by_step: Mapping[int, Mapping[str, float]],
) -> None:
    """Log metrics by step, in batches."""
    metrics = list(_metrics(by_step))
    for start in range(0, len(metrics), MAX_METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + MAX_METRICS])


def set_tags(client: Any, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags in one batch."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def _metrics(by_step: Mapping[int, Mapping[str, float]]) -> Iterator[Any]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    for step, metrics in by_step.items():
        for name, value in metrics.items():
            yield Metric(_name(name), float(value), now, step)


def _name(name: str) -> str:
    """Replace what MLflow does not allow in a name, such as the `@` of a mteb metric."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def _translated(uri: str) -> Any:
    import_mlflow()
    return errors_translated(uri)


def _watch_system(run_id: str, uri: str) -> Any:
    """Start a thread that logs processor, memory and disk; none without psutil."""
    if find_spec("psutil") is None:
        return None
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, tracking_uri=uri)
    monitor.start()
    return monitor
