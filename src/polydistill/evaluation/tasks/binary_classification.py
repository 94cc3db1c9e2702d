"""Binary classification: a logistic regression on frozen embeddings, scored by the area under the ROC curve."""

from typing import Any

import numpy as np
import pandas as pd

from polydistill.errors import DataError
from polydistill.evaluation import task
from polydistill.evaluation.statistics.influence import auroc_scores
from polydistill.evaluation.tasks import BENCHMARKS
from polydistill.evaluation.tasks.classification import INVERSE_PENALTY


@BENCHMARKS.register("binary-classification")
def binary_classification(source: task.TaskSource) -> task.BenchmarkTask:
    """Return a task that measures the area under the ROC curve on the test split.

    A prediction is the log-odds of the positive class, which is the second label in sorted order. The score does not
    depend on the class frequencies. The task subclasses mteb's regression task, because mteb's classification task
    does not save log-odds.

    Raises:
        DataError: A split is empty, or the splits do not have the same two labels.
    """
    from mteb.abstasks import AbsTaskRegression
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score, roc_auc_score
    from sklearn.neural_network import MLPClassifier

    class LogOdds(LogisticRegression):  # type: ignore[misc,unused-ignore]
        def predict(self, X: Any) -> Any:  # noqa: N803  scikit-learn's name
            return self.decision_function(X)

    class NetworkLogOdds(MLPClassifier):  # type: ignore[misc,unused-ignore]
        def predict(self, X: Any) -> Any:  # noqa: N803  scikit-learn's name
            share = np.clip(self.predict_proba(X)[:, 1], 1e-7, 1 - 1e-7)
            return np.log(share / (1 - share))

    train, test = (source.rows("split", name) for name in ("train", "test"))
    labels, in_test = (sorted(set(rows["label"].astype(str))) for rows in (train, test))
    if labels != in_test or len(labels) != 2:
        raise DataError(
            f"Task {source.name!r} must have the same two labels in train and test, got "
            f"{', '.join(labels[:3])} and {', '.join(in_test[:3])}."
        )

    class LocalBinaryClassification(AbsTaskRegression):
        n_samples = len(train)
        n_experiments = 1

        def _calculate_scores(self, y_test: Any, y_pred: Any) -> Any:
            truth = np.asarray(y_test)
            return {
                "auroc": float(roc_auc_score(truth, y_pred)),
                "average_precision": float(average_precision_score(truth, y_pred)),
            }

    def is_positive(column: pd.Series) -> list[int]:
        return (column.astype(str) == labels[1]).astype(int).tolist()

    def predictions(saved: Any) -> pd.DataFrame:
        odds = [float(value) for value in saved[0]]
        truth = list(map(float, is_positive(test["label"])))
        scores = auroc_scores(truth, odds)
        return task.prediction_frame(test["id"], source.seeds[0], odds, truth, scores)

    linear = LogOdds(C=INVERSE_PENALTY, max_iter=500, tol=1e-3)
    return task.local_task(
        source,
        LocalBinaryClassification,
        source.splits("value", is_positive),
        predictions,
        model=source.probe_on_standardised(linear, NetworkLogOdds(**task.NETWORK)),
        type="Regression",
        main_score="auroc",
        description="Log-odds of a logistic regression on the whole training split.",
    )
