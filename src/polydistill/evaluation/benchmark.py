"""Runs models on benchmark tasks and computes scores with intervals."""

import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pandas as pd

from polydistill.config.data import TaskParams
from polydistill.config.training import EvaluationParams
from polydistill.contracts import Modality, Progress, silent
from polydistill.data.tables import perturbed_examples, sides
from polydistill.errors import DataError, MissingExtraError, StageError
from polydistill.evaluation.encoder import Model
from polydistill.evaluation.statistics.bootstrap import Groups, interval, resampled_columns
from polydistill.evaluation.statistics.kinds import OVERALL, Scores, over_kinds
from polydistill.evaluation.task import BenchmarkTask, TaskSource, share_probe
from polydistill.evaluation.tasks import BENCHMARKS

TIMES = {"date", "evaluation_phases", "kg_co2_emissions"}
REQUIRED_BY_MTEB = ("evaluation_time", "mteb_version")
"""Keys that mteb's `TaskResult` requires; they are set to null."""
LOOKUP_BATCH = 1024


@dataclass(frozen=True)
class TaskRun:
    """The result of one model on one task.

    Attributes:
        task: The task's name.
        score: The main score.
        result: mteb's `TaskResult` with the model's name and revision, without times.
        predictions: Table with the columns `example, seed, prediction, target, score`.
        variant: The perturbation of the scored texts; empty for the task as it is.
    """

    task: str
    score: float
    result: dict[str, Any]
    predictions: pd.DataFrame
    variant: str = ""


def build_tasks(
    frames: Mapping[str, pd.DataFrame],
    tasks: Mapping[str, TaskParams],
    evaluation: EvaluationParams,
    kind: Modality,
    *,
    variants: bool = False,
) -> list[BenchmarkTask]:
    """Return benchmark tasks built from tables.

    Args:
        frames: The table of each available task, by name.
        tasks: The settings of each task, with its kind and probe.
        evaluation: The evaluation settings, with the seeds.
        kind: The modality of the examples.
        variants: Whether a task with `perturb` is followed by one variant per perturbation. A variant has perturbed test
            rows, queries or first examples of pairs; its probe is the one that the task has fitted.

    Raises:
        MissingExtraError: mteb is not installed.
        DataError: No task is available, or a task's rows are not suitable for its kind.
    """
    if find_spec("mteb") is None:
        raise MissingExtraError("The benchmark", "text")
    if not frames:
        raise DataError("At least one task must be available, got none: name one under `tasks`.")
    built = []
    for name, frame in frames.items():
        row = tasks[name]
        built.append(task := _build(name, frame, row, evaluation, kind))
        for variant in row.perturb if variants else ():
            changed = perturbed_examples(frame, row, kind, variant)
            column = sides(row, kind)[0]
            examples = frame[column].astype(object)
            examples.loc[changed.index] = changed
            perturbed = frame.assign(**{column: examples})
            other = replace(_build(name, perturbed, row, evaluation, kind), variant=variant)
            share_probe(task, other)
            built.append(other)
    return built


def _build(
    name: str, frame: pd.DataFrame, task: TaskParams, evaluation: EvaluationParams, kind: Modality
) -> BenchmarkTask:
    source = TaskSource(
        name, frame, kind.column, kind.content_id, evaluation.seeds, task.probe, task.shots
    )
    return BENCHMARKS.get(task.kind)(source)


def run_tasks(model: Model, tasks: Sequence[BenchmarkTask], n_threads: int) -> Iterator[TaskRun]:
    """Yield a model's result on each task that it can do.

    BLAS and OpenMP threads are limited, so that results are reproducible.
    """
    from threadpoolctl import threadpool_limits

    for task in tasks:
        with threadpool_limits(n_threads, "blas"), threadpool_limits(1, "openmp"):
            if (encoder := model.for_task(task)) is not None:
                yield run_task(encoder, task)


def run_task(encoder: Any, task: BenchmarkTask) -> TaskRun:
    """Evaluate one model on one task.

    Args:
        encoder: The model's encoder, from `Model.for_task`.
        task: The task.

    Raises:
        StageError: mteb's main score differs from the mean of the scores per prediction.
    """
    import mteb
    from mteb.models import EncoderProtocol

    with quiet_libraries():
        outcome = mteb.evaluate(
            cast(EncoderProtocol, encoder),
            task.mteb,
            cache=None,
            co2_tracker=False,
            show_progress_bar=False,
            encode_kwargs={"batch_size": LOOKUP_BATCH, "show_progress_bar": False},
            prediction_folder=Path(os.devnull),  # not written to; see `local_task`
        )
    result = outcome.task_results[0]
    predictions = task.predictions(task.mteb.saved_predictions)
    score = float(result.scores["test"][0]["main_score"])
    mean = float(predictions["score"].mean())
    if abs(score - mean) > 1e-6:
        raise StageError(
            f"Task {task.name!r}: mteb says {task.mteb.metadata.main_score} {score:.6f}, its predictions {mean:.6f}."
            " Another version of mteb? Install requirements.lock."
        )
    return TaskRun(task.name, score, _without_times(result, encoder), predictions, task.variant)


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
            # mteb computes other metrics too, which warn if a label is never predicted.
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()


def _without_times(result: Any, encoder: Any) -> dict[str, Any]:
    """Return the result without values that depend on the time or the machine."""
    tree: dict[str, Any] = result.model_dump(mode="json", exclude=TIMES)
    for subsets in tree["scores"].values():
        for scores in subsets:
            scores.pop("mteb_version", None)
    model = {"model_name": encoder.name, "model_revision": encoder.revision}
    return {**tree, **dict.fromkeys(REQUIRED_BY_MTEB), **model}


@dataclass(frozen=True)
class BenchmarkRun:
    """The results of several models on the same tasks.

    Attributes:
        scores: Main scores by model, task kind and task, to four decimals; no model that can do none of the tasks.
        predictions: Table with one row per task, variant, model, seed and example.
        results: mteb's results by model and task, without times and without variants.
        missing: By model, the number of inputs without an embedding. Their embeddings are zero vectors.
        slices: Main scores by model, task and variant, to four decimals. They are not in `scores`.
        models: mteb's metadata of each model.
    """

    scores: Scores
    predictions: pd.DataFrame
    results: dict[str, dict[str, dict[str, Any]]]
    missing: dict[str, int]
    slices: dict[str, dict[str, dict[str, float]]]
    models: dict[str, Any]


def run_benchmark(
    encoders: Iterable[Model],
    built: Sequence[BenchmarkTask],
    tasks: Mapping[str, TaskParams],
    n_threads: int,
    progress: Progress = silent,
) -> BenchmarkRun:
    """Score every model on every task.

    Args:
        encoders: The models. A generator creates each model only after the previous one is scored.
        built: The tasks, from `build_tasks`.
        tasks: The settings of each task, with its kind.
        n_threads: Number of BLAS threads.
        progress: Called after each task of each model.
    """
    scores: Scores = {}
    results: dict[str, dict[str, dict[str, Any]]] = {}
    slices: dict[str, dict[str, dict[str, float]]] = {}
    missing, predictions, models = {}, [], {}
    for encoder in encoders:
        name = encoder.name
        scores[name], results[name], slices[name] = {}, {}, {}
        done = 0
        for done, run in enumerate(run_tasks(encoder, built, n_threads), 1):
            score = round(run.score, 4)
            if run.variant:
                slices[name].setdefault(run.task, {})[run.variant] = score
            else:
                scores[name].setdefault(tasks[run.task].kind, {})[run.task] = score
                results[name][run.task] = run.result
            own = {"task": run.task, "variant": run.variant, "model": name}
            predictions.append(run.predictions.assign(**own))
            progress(f"evaluate {name}", done, len(built), score=run.score)
        if done < len(built):
            progress(f"evaluate {name}", len(built), len(built))  # a rival cannot do all tasks
        missing[name] = encoder.n_missing
        if done:
            models[name] = encoder.mteb_model_meta
    scores = {name: kinds for name, kinds in scores.items() if kinds}
    table = pd.concat(predictions, ignore_index=True)
    slices = {name: by_task for name, by_task in slices.items() if by_task}
    return BenchmarkRun(scores, table, results, missing, slices, models)


def score_table(
    predictions: pd.DataFrame, tasks: Mapping[str, TaskParams], groups: Groups | None = None
) -> pd.DataFrame:
    """Return each model's score on each task, with a bootstrap interval over the task's groups.

    Args:
        predictions: Table with one row per `task`, `model`, `example` and seed, and the column `score`; no variants.
        tasks: The settings of each task, with its kind.
        groups: See `statistics.bootstrap.Groups`.

    Returns:
        A table with the columns `task, kind, model, score, low, high, n`. Models are in the order of `predictions`.
    """
    rows = []
    models = dict.fromkeys(predictions["model"])
    for task, frame in predictions.groupby("task", sort=False):
        name = str(task)
        by_example = frame.pivot_table(index="example", columns="model", values="score")
        by_example = by_example[[model for model in models if model in by_example]]
        draws = resampled_columns(name, by_example, groups)
        for column, model in enumerate(by_example):
            found = interval(by_example[model].mean(), draws[:, column])
            rows.append((name, tasks[name].kind, model, *astuple(found), len(by_example)))
    return pd.DataFrame(rows, columns=["task", "kind", "model", "score", "low", "high", "n"])


def difference_table(
    predictions: pd.DataFrame,
    tasks: Mapping[str, TaskParams],
    groups: Groups | None = None,
    *,
    one: str,
    other: str,
) -> pd.DataFrame:
    """Return the difference of two models' scores on each task, with paired intervals.

    Returns:
        A table with the columns `task, kind, difference, low, high, n`. The last row is the mean over task kinds, which
        have equal weights.
    """
    points, draws, counts = {}, {}, {}
    for task, frame in predictions.groupby("task"):
        name = str(task)
        by_example = frame.pivot_table(index="example", columns="model", values="score")
        means = by_example.mean().to_numpy()
        drawn = resampled_columns(name, by_example, groups)
        columns = [list(by_example).index(model) for model in (one, other)]
        points[name], draws[name], counts[name] = means[columns], drawn[:, columns], len(by_example)
    kinds = {task: tasks[task].kind for task in points}

    def row(task: str, kind: str, among: Mapping[str, str], n: int) -> tuple[Any, ...]:
        mean, drawn = (over_kinds(values, among)[OVERALL] for values in (points, draws))
        found = interval(mean[0] - mean[1], drawn[:, 0] - drawn[:, 1])
        return task, kind, *astuple(found), n

    order = map(str, predictions["task"].unique())
    table = [row(task, kinds[task], {task: kinds[task]}, counts[task]) for task in order]
    table.append(row("mean", "", kinds, sum(counts.values())))
    return pd.DataFrame(table, columns=["task", "kind", "difference", "low", "high", "n"])
