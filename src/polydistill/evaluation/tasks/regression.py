"""Regression: a ridge regression on frozen embeddings, fitted to the whole training split."""

from typing import Any

import numpy as np
import pandas as pd

from polydistill.evaluation import task
from polydistill.evaluation.statistics.influence import pearson_scores, spearman_scores
from polydistill.evaluation.tasks import BENCHMARKS

PENALTIES = tuple(10.0 ** np.arange(0, 6))
"""Ridge penalties for standardised columns. Leave-one-out validation selects one, to suit embeddings of any width."""


@BENCHMARKS.register("regression")
def regression(source: task.TaskSource) -> task.BenchmarkTask:
    """Return a task that measures Pearson's correlation of predictions and labels on the test split.

    A correlation is in [-1, 1], as in similarity tasks. R² has no lower bound and would dominate the means. mteb's own
    metrics are also reported.

    Raises:
        DataError: A split is empty.
    """
    from mteb.abstasks import AbsTaskRegression
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.neural_network import MLPRegressor
    from sklearn.preprocessing import StandardScaler

    train, test = (source.rows("split", name) for name in ("train", "test"))

    class LocalRegression(AbsTaskRegression):
        n_samples = len(train)
        n_experiments = 1

        def _calculate_scores(self, y_test: Any, y_pred: Any) -> Any:
            scores: dict[str, Any] = {**super()._calculate_scores(y_test, y_pred)}
            scores["pearson"] = float(pearson_scores(y_pred, y_test).mean())
            scores["spearman"] = float(spearman_scores(y_pred, y_test).mean())
            return {name: float(np.nan_to_num(score)) for name, score in scores.items()}

    def predictions(saved: Any) -> pd.DataFrame:
        predicted, targets = [float(value) for value in saved[0]], test["label"].astype(float)
        scores = pearson_scores(predicted, targets)
        return task.prediction_frame(test["id"], source.seeds[0], predicted, targets, scores)

    network = TransformedTargetRegressor(MLPRegressor(**task.NETWORK), transformer=StandardScaler())
    return task.local_task(
        source,
        LocalRegression,
        source.splits("value", lambda labels: labels.astype(float).tolist()),
        predictions,
        model=source.probe_on_standardised(RidgeCV(alphas=PENALTIES), network),
        type="Regression",
        main_score="pearson",
        description="Ridge regression on the whole training split.",
    )
