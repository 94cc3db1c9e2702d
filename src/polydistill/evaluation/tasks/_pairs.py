"""Code shared by the task kinds that compare cosines of pairs of embeddings with a target, without a probe."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from polydistill.evaluation.task import BenchmarkTask, TaskSource, local_task, prediction_frame


def pair_task(
    source: TaskSource,
    task_class: Any,
    targets: tuple[str, Sequence[float]],
    scores: Callable[[list[float]], Iterable[float]],
    **metadata: str,
) -> BenchmarkTask:
    """Return a task on the pairs in the columns `<column>1` and `<column>2`. A prediction is the pair's cosine.

    Args:
        source: The task's rows.
        task_class: See `task.local_task`.
        targets: mteb's name of the column with the targets, and one target per pair.
        scores: Converts the cosines to one score per pair.
        metadata: See `task.local_task`.
    """
    from datasets import Dataset, DatasetDict

    frame, (column, values) = source.frame, targets

    def predictions(saved: Any) -> pd.DataFrame:
        cosines = [float(value) for value in saved["cosine_scores"]]
        return prediction_frame(frame["id"], source.seeds[0], cosines, values, scores(cosines))

    sides = {f"sentence{side}": source.contents(frame, side) for side in "12"}
    test = DatasetDict({"test": Dataset.from_dict({**sides, column: values})})
    return local_task(source, task_class, test, predictions, **metadata)
