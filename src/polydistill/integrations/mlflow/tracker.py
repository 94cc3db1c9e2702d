"""Live tracking of training in MLflow. If the tracking store fails, a warning is logged and training continues."""

import atexit
import logging
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from polydistill.config.describe import flatten
from polydistill.contracts import Tracker
from polydistill.integrations.mlflow import store

MAX_VALUE = 6000
_log = logging.getLogger(__name__)


class MlflowTracker(Tracker):
    """Tracker for MLflow. See `contracts.Tracker`.

    The first call creates the run. After the first failure, nothing more is logged.

    Args:
        root: The project folder.
        modality: The name of the experiment.
    """

    def __init__(self, root: Path, modality: str) -> None:
        self._root, self._modality = root, modality
        self._client: Any = None
        self._monitor: Any = None
        self._down = False
        self.run_id: str | None = None

    def log_params(self, params: Mapping[str, object]) -> None:
        """See `contracts.Tracker.log_params`."""
        self._guard(lambda: log_params(*self._run(), params))

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """See `contracts.Tracker.log_metrics`. The metrics are logged in one batch."""
        self._guard(lambda: log_metrics(*self._run(), {step: metrics}))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """See `contracts.Tracker.set_tags`."""
        self._guard(lambda: set_tags(*self._run(), tags))

    def close(self) -> None:
        """See `contracts.Tracker.close`."""
        self._end("FINISHED")

    def _run(self) -> tuple[Any, str]:
        """Return the client and the id of the run. The first call creates both."""
        if self.run_id is None:
            uri = store.tracking_uri(self._root)
            store.require_sound(uri)
            mlflow = store.import_mlflow()
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            self._client = mlflow.MlflowClient(uri, uri)
            experiment = store.experiment_id(self._client, self._root, self._modality)
            tags = {"modality": self._modality}
            self.run_id = self._client.create_run(experiment, tags=tags).info.run_id
            self._monitor = SystemMetricsMonitor(str(self.run_id), tracking_uri=uri)
            self._monitor.start()  # a thread that logs the use of processor, memory and disk
            atexit.register(self._end, "FAILED")  # unless `close` is called before
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
        """Call a function, unless the store has failed before. Log the first failure as a warning."""
        if self._down:
            return
        try:
            with store.errors_translated(store.tracking_uri(self._root)):
                call()
        except Exception as error:  # noqa: BLE001 - no failure may stop a training
            self._down = True
            _log.warning("Training continues without live tracking. %s", error)


def log_params(client: Any, run_id: str, params: Mapping[str, object]) -> None:
    """Log nested parameters, flattened."""
    from mlflow.entities import Param

    leaves = [Param(_name(key), str(value)[:MAX_VALUE]) for key, value in flatten(params).items()]
    client.log_batch(run_id, params=leaves)


def log_metrics(client: Any, run_id: str, by_step: Mapping[int, Mapping[str, float]]) -> None:
    """Log metrics of one or more steps in one batch."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    points = [
        Metric(_name(name), float(value), now, step)
        for step, metrics in by_step.items()
        for name, value in metrics.items()
    ]
    client.log_batch(run_id, metrics=points)


def set_tags(client: Any, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags in one batch."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def _name(name: str) -> str:
    """Replace characters that MLflow does not allow in a name, such as the `@` in a metric of MTEB."""
    return re.sub(r"[^\w\-. :/]", "_", name)
