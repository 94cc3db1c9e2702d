"""The evaluation of one model on one task: mteb's result without times, and a prediction for every example."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pandas as pd

from polydistill.errors import StageError
from polydistill.evaluation.encoder import LookupEncoder
from polydistill.evaluation.task import BenchmarkTask

TIMES = {"date", "evaluation_phases", "kg_co2_emissions"}
REQUIRED_BY_MTEB = ("evaluation_time", "mteb_version")
"""Keys that `TaskResult` requires; their values are null."""
LOOKUP_BATCH = 1024


@dataclass(frozen=True)
class TaskRun:
    """The result of one model on one task.

    Attributes:
        task: The task's name.
        score: The main score.
        result: mteb's `TaskResult` with the model's name and revision, without times.
        predictions: Table with the columns `example, seed, prediction, target, score`.
    """

    task: str
    score: float
    result: dict[str, Any]
    predictions: pd.DataFrame


def run_task(encoder: LookupEncoder, task: BenchmarkTask) -> TaskRun:
    """Evaluate one model on one task.

    Raises:
        StageError: mteb's score is not the mean of the scores of its predictions.
    """
    import mteb
    from mteb.models import EncoderProtocol

    with quiet_libraries(), TemporaryDirectory() as folder:
        outcome = mteb.evaluate(
            cast(EncoderProtocol, encoder),
            task.mteb,
            cache=None,
            co2_tracker=False,
            show_progress_bar=False,
            encode_kwargs={"batch_size": LOOKUP_BATCH, "show_progress_bar": False},
            prediction_folder=folder,
        )
        saved = json.loads((Path(folder) / task.mteb.prediction_file_name).read_text("utf-8"))
    result = outcome.task_results[0]
    predictions = task.predictions(saved["default"]["test"])
    score = float(result.scores["test"][0]["main_score"])
    mean = float(predictions["score"].mean())
    if abs(score - mean) > 1e-6:
        raise StageError(
            f"Task {task.name!r}: mteb says {task.mteb.metadata.main_score} {score:.6f}, its predictions {mean:.6f}."
            " Another version of mteb? Install requirements.lock."
        )
    return TaskRun(task.name, score, _without_times(result, encoder), predictions)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence the logs and progress bars of mteb and datasets inside the context."""
    import datasets
    from sklearn.exceptions import UndefinedMetricWarning

    loggers = [logging.getLogger(name) for name in ("mteb", "datasets")]
    levels = [logger.level for logger in loggers]
    bars = datasets.are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            # mteb's other metrics warn that a label without predictions has no precision.
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()


def _without_times(result: Any, encoder: LookupEncoder) -> dict[str, Any]:
    """Return the result without values that depend on the time or the machine."""
    tree: dict[str, Any] = result.model_dump(mode="json", exclude=TIMES)
    for subsets in tree["scores"].values():
        for scores in subsets:
            scores.pop("mteb_version", None)
    model = {"model_name": encoder.name, "model_revision": encoder.revision}
    return {**tree, **dict.fromkeys(REQUIRED_BY_MTEB), **model}
