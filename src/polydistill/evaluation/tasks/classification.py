"""Classification: a logistic regression on frozen embeddings, fitted to the whole training split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from polydistill.errors import DataError
from polydistill.evaluation.probe import network_classifier
from polydistill.evaluation.task import (
    BenchmarkTask,
    TaskSource,
    prediction_frame,
    split_dataset,
    task_metadata,
)
from polydistill.evaluation.tasks import BENCHMARKS

INVERSE_PENALTY = 0.01
"""For standardised columns, one for all models. Of 0.002, 0.01, 0.05, 0.2, by grouped 3-fold validation on
the training splits, it is the best for each teacher of 384 dimensions or more on WordNet and Debian, and second
to 0.002 on Brown (by .015 to .025). GloVe's 50 dimensions lose up to .05 by it (Debian, 0.2: .436, not .386)."""


@BENCHMARKS.register("classification")
def classification(source: TaskSource) -> BenchmarkTask:
    """Measure accuracy on the test split.

    mteb's default, ten probes of eight rows a label, is replaced by one probe of all rows.
    A prediction scores 1 when it is right and 0 when not.

    Raises:
        DataError: A split is empty, or a label of the test split is not in the training split.
        MissingExtraError: mteb is not installed.
    """
    main_score = "accuracy"
    metadata_ = task_metadata(
        source,
        type_="Classification",
        main_score=main_score,
        description="Logistic regression on the whole training split.",
    )
    from mteb.abstasks import AbsTaskClassification
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = source.split("train"), source.split("test")
    names = sorted(set(train["label"].astype(str)))
    if unknown := sorted(set(test["label"].astype(str)) - set(names)):
        raise DataError(f"Task {source.name!r}: no training row has the label {unknown[0]!r}.")
    numbers = {name: number for number, name in enumerate(names)}

    class LocalClassification(AbsTaskClassification):  # type: ignore[misc,unused-ignore]
        metadata = metadata_
        n_experiments = 1

        def load_data(self, *_: Any, **__: Any) -> None:
            if self.data_loaded:
                return
            self.dataset = split_dataset(
                source, "label", lambda labels: [numbers[str(label)] for label in labels]
            )
            self.data_loaded = True

        def _undersample_data(self, dataset: Any, *_: Any) -> Any:
            return dataset, [], list(range(len(dataset)))

        def _calculate_scores(self, y_test: Any, y_pred: Any) -> Any:
            # A column of datasets is decoded anew, row by row, for each of mteb's eight metrics.
            return super()._calculate_scores(np.asarray(y_test), y_pred)

    task = LocalClassification()
    linear = LogisticRegression(C=INVERSE_PENALTY, max_iter=500, tol=1e-3)
    task.evaluator_model = (
        network_classifier() if source.probe == "mlp" else make_pipeline(StandardScaler(), linear)
    )
    task.load_data()

    def predictions(saved: Any) -> pd.DataFrame:
        predicted = [names[int(number)] for number in saved[0]]
        targets = test["label"].astype(str).tolist()
        scores = [float(a == b) for a, b in zip(predicted, targets, strict=True)]
        return prediction_frame(test["id"].tolist(), source.seeds[0], predicted, targets, scores)

    return BenchmarkTask(source.name, task, main_score, predictions)
