"""Classification: a logistic regression on frozen embeddings, fitted to the whole training split."""

from typing import Any

import numpy as np
import pandas as pd

from polydistill.errors import DataError
from polydistill.evaluation import task
from polydistill.evaluation.tasks import BENCHMARKS

INVERSE_PENALTY = 0.01
"""scikit-learn's `C` for standardised columns, the same for all models.

It was chosen among 0.002, 0.01, 0.05 and 0.2 by grouped 3-fold validation on the training splits. It is the best value
for each teacher with at least 384 dimensions on WordNet and Debian, and second to 0.002 on Brown (by .015 to .025).
GloVe with 50 dimensions loses up to .05 (Debian: .386 instead of .436 with 0.2).
"""


@BENCHMARKS.register("classification")
def classification(source: task.TaskSource) -> task.BenchmarkTask:
    """Return a task that measures accuracy on the test split.

    One probe on all rows replaces mteb's default of ten probes with eight rows per label. A correct prediction scores 1
    and a wrong one 0.

    Raises:
        DataError: A split is empty, or a test label does not occur in the training split.
    """
    from mteb.abstasks import AbsTaskClassification
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    train, test = (source.rows("split", name) for name in ("train", "test"))
    names, targets = sorted(set(train["label"].astype(str))), test["label"].astype(str).tolist()
    if unknown := sorted(set(targets) - set(names)):
        raise DataError(f"Task {source.name!r}: no training row has the label {unknown[0]!r}.")
    numbers = {name: number for number, name in enumerate(names)}

    class LocalClassification(AbsTaskClassification):
        n_experiments = 1

        def _undersample_data(self, dataset: Any, *_: Any) -> Any:
            return dataset, [], list(range(len(dataset)))

        def _calculate_scores(self, y_test: Any, y_pred: Any) -> Any:
            # Convert the column once; otherwise `datasets` decodes it row by row for each of mteb's eight metrics.
            return super()._calculate_scores(np.asarray(y_test), y_pred)

    def predictions(saved: Any) -> pd.DataFrame:
        predicted = [names[int(number)] for number in saved[0]]
        scores = [float(a == b) for a, b in zip(predicted, targets, strict=True)]
        return task.prediction_frame(test["id"], source.seeds[0], predicted, targets, scores)

    linear = LogisticRegression(C=INVERSE_PENALTY, max_iter=500, tol=1e-3)
    return task.local_task(
        source,
        LocalClassification,
        source.splits("label", lambda labels: [numbers[str(label)] for label in labels]),
        predictions,
        model=source.probe_on_standardised(linear, MLPClassifier(**task.NETWORK)),
        type="Classification",
        main_score="accuracy",
        description="Logistic regression on the whole training split.",
    )
