"""Runs mteb's own benchmarks, whose texts are on the Hugging Face hub, with models that embed these texts."""

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from polydistill.contracts import FloatArray, Progress, silent
from polydistill.errors import MissingExtraError, ParamsError, UnknownNameError
from polydistill.evaluation.benchmark import quiet_libraries
from polydistill.evaluation.encoder import model_meta

BATCH = 256
"""Number of texts per batch of mteb; a model divides it further."""
OFFLINE = "HF_HUB_OFFLINE"
"""The environment variable that forbids downloads if it is 1, the default of our commands."""


class TextEncoder:
    """Implements mteb's `EncoderProtocol` with a function that embeds texts.

    Args:
        name: The model's name.
        revision: The revision that identifies the model's version.
        embed: Returns the embeddings of texts, `(n_texts, dim)`.
    """

    def __init__(
        self, name: str, revision: str, embed: Callable[[Sequence[str]], FloatArray]
    ) -> None:
        self.name, self.revision, self._embed = name, revision, embed

    @property
    def mteb_model_meta(self) -> Any:
        """The name and revision as mteb's model metadata."""
        return model_meta(self.name, self.revision)

    def encode(self, inputs: Iterable[Mapping[str, Sequence[str]]], **_: object) -> FloatArray:
        """Implement mteb's `EncoderProtocol.encode`; embeddings have length one, or zero for a missing one."""
        values = np.concatenate([self._embed(list(batch["text"])) for batch in inputs])
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        return np.asarray(values / np.where(lengths == 0, 1, lengths), dtype=np.float32)

    def similarity(self, embeddings1: FloatArray, embeddings2: FloatArray) -> FloatArray:
        """Return the cosines of all pairs, `(n1, n2)`."""
        return np.asarray(embeddings1 @ embeddings2.T)

    def similarity_pairwise(self, embeddings1: FloatArray, embeddings2: FloatArray) -> FloatArray:
        """Return the cosines of corresponding rows, `(n,)`."""
        return np.asarray((embeddings1 * embeddings2).sum(axis=1))


@dataclass(frozen=True)
class HubRun:
    """The results of several models on mteb's benchmarks and tasks.

    Attributes:
        scores: Main scores by model and task, of finished tasks. If two benchmarks have different subsets or splits of a
            task, the name of the second task ends with that of its benchmark.
        failed: Why a task has no score, by model and task.
        tables: mteb's means over the tasks of each benchmark, and the scores on tasks that were named alone, by name.
    """

    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    failed: dict[str, dict[str, str]] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)


def select_tasks(names: Iterable[str]) -> dict[str, Any]:
    """Return mteb's benchmarks and single tasks by name.

    Raises:
        MissingExtraError: mteb is not installed.
        UnknownNameError: mteb has no benchmark or task of this name.
        ParamsError: A task is not about texts.
    """
    try:
        import mteb
    except ImportError as error:
        raise MissingExtraError("The benchmark", "text") from error
    with quiet_libraries():
        found = {name: _selected(mteb, name) for name in names}
    for name, one in found.items():
        for task in _tasks_of(one):
            if task.metadata.modalities != ["text"]:
                kinds = ", ".join(task.metadata.modalities)
                raise ParamsError(
                    f"{name}: the task {task.metadata.name} must be about texts, got {kinds}."
                )
    return found


def _selected(mteb: Any, name: str) -> Any:
    """Return the benchmark or task of this name; mteb raises `KeyError` for an unknown name."""
    for getter in (mteb.get_benchmark, mteb.get_task):
        try:
            return getter(name)
        except KeyError:
            continue
    known = [one.name for one in mteb.get_benchmarks()]
    known += [one.metadata.name for one in mteb.get_tasks(modalities=["text"])]
    error = UnknownNameError("benchmark or task of mteb", name, known)
    shown = str(error).partition(" Known:")[0]  # more than a thousand names
    error.args = (f"{shown} A benchmark is written as in mteb, such as 'MTEB(eng, v2)'.",)
    raise error


def run_hub_benchmarks(
    encoders: Iterable[TextEncoder],
    selected: Mapping[str, Any],
    folder: Path,
    progress: Progress = silent,
) -> HubRun:
    """Run every model on every task; a task whose result is in the folder is not run again.

    A task that fails, for example because its data cannot be downloaded, does not stop the others.

    Args:
        encoders: The models.
        selected: The benchmarks and tasks, from `select_tasks`.
        folder: The folder of results, which mteb's `ResultCache` reads.
        progress: Called after each task of each model.
    """
    from mteb.cache import ResultCache

    cache, found, metas = ResultCache(folder), HubRun(), []
    tasks, names = _distinct_tasks(selected)
    for encoder in encoders:
        metas.append(encoder.mteb_model_meta)
        found.scores[encoder.name], found.failed[encoder.name] = {}, {}
        for done, (name, task) in enumerate(tasks.items(), 1):
            score, reason = _run_task(encoder, task, cache)
            if score is None:
                found.failed[encoder.name][name] = reason
                progress(f"{encoder.name}: {name} failed", done, len(tasks))
            else:
                found.scores[encoder.name][name] = score
                progress(f"evaluate {encoder.name}", done, len(tasks), score=score)
    with quiet_libraries():
        found.tables.update(_tables(cache, metas, selected, names, found.scores))
    return found


def _run_task(encoder: TextEncoder, task: Any, cache: Any) -> tuple[float | None, str]:
    """Return the main score of a task, or None and the reason."""
    import mteb
    from mteb.models import EncoderProtocol

    with quiet_libraries():
        logging.getLogger("mteb").setLevel(logging.CRITICAL)  # its errors are in the outcome
        warnings.simplefilter("ignore")
        outcome = mteb.evaluate(
            cast(EncoderProtocol, encoder),
            task,
            cache=cache,
            co2_tracker=False,
            raise_error=False,
            show_progress_bar=False,
            encode_kwargs={"batch_size": BATCH, "show_progress_bar": False},
        )
    if outcome.task_results:
        # The stored result may have further subsets and splits, of another benchmark.
        result = outcome.task_results[0].validate_and_filter_scores(task)
        return round(float(result.get_score()), 6), ""
    said = " ".join(str(outcome.exceptions[0].exception).split()) if outcome.exceptions else ""
    offline = os.environ.get(OFFLINE, "0") not in {"0", ""}
    hint = f" (downloads are off: set {OFFLINE}=0)" if offline and "hub" in said.lower() else ""
    return None, (said[:300].rstrip(".") or "mteb gave no reason") + hint


def _distinct_tasks(selected: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return the tasks by the name of their scores, and these names for each benchmark or single task."""
    found, names = dict[str, Any](), dict[str, list[str]]()
    for name, one in sorted(selected.items(), key=lambda pair: _is_benchmark(pair[1])):
        names[name] = []
        for task in _tasks_of(one):
            key = task.metadata.name
            if _parts(found.setdefault(key, task)) != _parts(task):
                key = f"{key} of {name}"
                found[key] = task
            names[name].append(key)
    return found, names


def _parts(task: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Return the subsets, such as languages, and the splits that a task is evaluated on."""
    return frozenset(task.hf_subsets), frozenset(task.eval_splits)


def _is_benchmark(one: Any) -> bool:
    from mteb.benchmarks.benchmark import Benchmark

    return isinstance(one, Benchmark)


def _tasks_of(one: Any) -> list[Any]:
    return list(one.tasks) if _is_benchmark(one) else [one]


def _tables(
    cache: Any,
    metas: Sequence[Any],
    selected: Mapping[str, Any],
    names: Mapping[str, Sequence[str]],
    scores: Mapping[str, Mapping[str, float]],
) -> dict[str, pd.DataFrame]:
    """Return mteb's means of each benchmark that has results, and the scores on tasks that were named alone."""
    tables, alone = {}, [name for name, one in selected.items() if not _is_benchmark(one)]
    for name, one in selected.items():
        done = set(names[name]) & set().union(*scores.values())
        if name not in alone and done:
            results = cache.load_results(models=metas, tasks=one)
            means = (
                results.get_aggregated_scores()
            )  # its larger table lacks models that mteb does not know
            tables[name] = _by_model({one.rpartition("/")[2]: row for one, row in means.items()})
    if alone:
        rows = {name: {one: row.get(one) for one in alone} for name, row in scores.items()}
        tables["tasks"] = _by_model(rows)
    return tables


def _by_model(rows: Mapping[str, Mapping[str, float | None]]) -> pd.DataFrame:
    table = pd.DataFrame.from_dict(dict(rows), orient="index", dtype=float)
    return table.rename_axis("Model").reset_index()
