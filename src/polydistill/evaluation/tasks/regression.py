"""Regression: a ridge regression on frozen embeddings, fitted to the whole training split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from polydistill.evaluation.probe import network_regressor
from polydistill.evaluation.statistics.influence import pearson_scores, spearman_scores
from polydistill.evaluation.task import (
    BenchmarkTask,
    TaskSource,
    number_frame,
    split_dataset,
    task_metadata,
)
from polydistill.evaluation.tasks import BENCHMARKS

PENALTIES = tuple(10.0 ** np.arange(0, 6))
"""For standardised columns; leave-one-out on the training split chooses, so that no width is favoured."""


@BENCHMARKS.register("regression")
def regression(source: TaskSource) -> BenchmarkTask:
    """Measure Pearson's correlation of predictions and labels on the test split.

    A correlation, like those of similarity tasks, lies in [-1, 1]; R² has no lower bound and would
    rule every mean that it enters. mteb's own metrics stand beside it.

    Raises:
        DataError: A split is empty.
        MissingExtraError: mteb is not installed.
    """
    main_score = "pearson"
    metadata_ = task_metadata(
        source,
        type_="Regression",
        main_score=main_score,
        description="Ridge regression on the whole training split.",
    )
    from mteb.abstasks import AbsTaskRegression
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    linear = make_pipeline(StandardScaler(), RidgeCV(alphas=PENALTIES))
    train, test = source.split("train"), source.split("test")

    class LocalRegression(AbsTaskRegression):  # type: ignore[misc,unused-ignore]
        metadata = metadata_
        n_samples = len(train)
        n_experiments = 1

        def load_data(self, *_: Any, **__: Any) -> None:
            if self.data_loaded:
                return
            self.dataset = split_dataset(
                source, "value", lambda labels: labels.astype(float).tolist()
            )
            self.data_loaded = True

        def _calculate_scores(self, y_test: Any, y_pred: Any) -> Any:
            scores: dict[str, Any] = {**super()._calculate_scores(y_test, y_pred)}
            scores["pearson"] = float(pearson_scores(y_pred, y_test).mean())
            scores["spearman"] = float(spearman_scores(y_pred, y_test).mean())
            return {name: float(np.nan_to_num(score)) for name, score in scores.items()}

    task = LocalRegression()
    task.evaluator_model = network_regressor() if source.probe == "mlp" else linear
    task.load_data()

    def predictions(saved: Any) -> pd.DataFrame:
        predicted, targets = [float(value) for value in saved[0]], test["label"].astype(float)
        scores = pearson_scores(predicted, targets).tolist()
        return number_frame(test["id"].tolist(), source.seeds[0], predicted, targets, scores)

    return BenchmarkTask(source.name, task, main_score, predictions)
