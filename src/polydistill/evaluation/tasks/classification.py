"""Classification: a logistic regression on frozen embeddings, fitted to the training split or to a few rows of it."""

import hashlib
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

    One probe on all rows replaces mteb's default of ten probes with eight rows per label. With `shots`, there is one
    probe per seed, on that number of training rows per label, and the score is the mean of the probes. A correct
    prediction scores 1 and a wrong one 0.

    Raises:
        DataError: A split is empty, a test label does not occur in the training split, or a label has fewer than
            `shots` training rows.
    """
    from mteb.abstasks import AbsTaskClassification
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    train, test = (source.rows("split", name) for name in ("train", "test"))
    names, targets = sorted(set(train["label"].astype(str))), test["label"].astype(str).tolist()
    if unknown := sorted(set(targets) - set(names)):
        raise DataError(f"Task {source.name!r}: no training row has the label {unknown[0]!r}.")
    numbers = {name: number for number, name in enumerate(names)}
    seeds, fitted = source.seeds[:1], [list(range(len(train)))]
    if source.shots is not None:
        seeds, fitted = (
            source.seeds,
            [_drawn(source, train, source.shots, seed) for seed in source.seeds],
        )

    class LocalClassification(AbsTaskClassification):
        n_experiments = len(seeds)

        def _undersample_data(self, dataset: Any, experiment_num: int, *_: Any) -> Any:
            return dataset, [], fitted[experiment_num]

        def _calculate_scores(self, y_test: Any, y_pred: Any) -> Any:
            # Convert the column once; otherwise `datasets` decodes it row by row for each of mteb's eight metrics.
            return super()._calculate_scores(np.asarray(y_test), y_pred)

    def predictions(saved: Any) -> pd.DataFrame:
        frames = []
        for seed, of_seed in zip(seeds, saved, strict=True):
            predicted = [names[int(number)] for number in of_seed]
            scores = [float(a == b) for a, b in zip(predicted, targets, strict=True)]
            frames.append(task.prediction_frame(test["id"], seed, predicted, targets, scores))
        return pd.concat(frames, ignore_index=True)

    linear = LogisticRegression(C=INVERSE_PENALTY, max_iter=500, tol=1e-3)
    return task.local_task(
        source,
        LocalClassification,
        source.splits("label", lambda labels: [numbers[str(label)] for label in labels]),
        predictions,
        model=source.probe_on_standardised(linear, MLPClassifier(**task.NETWORK)),
        type="Classification",
        main_score="accuracy",
        description="Logistic regression on the training split.",
    )


def _drawn(source: task.TaskSource, train: pd.DataFrame, shots: int, seed: int) -> list[int]:
    """Return the numbers of `shots` rows of each label, the first ones in the order of a hash of content and seed.

    Raises:
        DataError: A label has fewer rows.
    """
    keys = [f"{seed} {content}".encode() for content in source.contents(train)]
    labels = train["label"].astype(str)
    labels = labels.iloc[np.argsort([hashlib.sha256(key).hexdigest() for key in keys])]
    sizes = labels.value_counts()
    if (smallest := sizes.min()) < shots:
        raise DataError(
            f"Task {source.name!r}: each label must have at least {shots} training rows for `shots`, "
            f"{sizes.idxmin()!r} has {smallest}: lower `shots`, or drop the label."
        )
    return sorted(map(int, labels.groupby(labels).head(shots).index))
