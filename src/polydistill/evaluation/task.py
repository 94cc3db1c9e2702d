"""Code shared by the task kinds: the rows of a task, its probe, and the mteb task built from them."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from polydistill.errors import DataError

Probe = Literal["linear", "mlp"]
VALIDATION_SHARE = 0.15
NETWORK = {
    "hidden_layer_sizes": (128,),
    "alpha": 1e-3,
    "early_stopping": True,
    "validation_fraction": VALIDATION_SHARE,
    "n_iter_no_change": 15,
    "max_iter": 300,
    "tol": 0.0,
    "random_state": 0,
}
"""scikit-learn's options for a network with one hidden layer and early stopping.

Part of the training split is used for validation. With `early_stopping`, scikit-learn returns the weights with
the best validation score, not those of the last epoch; `tests/evaluation/test_probe.py` checks this.
"""


@dataclass(frozen=True)
class TaskSource:
    """A task's rows, and the settings for using them.

    Attributes:
        name: The task's name in `params.yaml`.
        frame: The task's rows, with the columns `id` and `label`, those of the examples and, for probes, `split`.
        column: The column with the example; pairs use the columns `<column>1` and `<column>2`.
        content_id: The modality's method `contracts.Modality.content_id`; mteb sees only these ids.
        seeds: Seeds of clusterings and of the rows of few-shot probes. Fits of other task kinds do not depend on them.
        probe: The probe for classification and regression: `linear`, or `mlp`, a small neural network.
        shots: For classification, the number of training rows per label that a probe is fitted on; None: all.
    """

    name: str
    frame: pd.DataFrame
    column: str
    content_id: Callable[[Any], str]
    seeds: Sequence[int] = (0,)
    probe: Probe = "linear"
    shots: int | None = None

    @property
    def revision(self) -> str:
        """The sha256 of the rows, which identifies the data that a score was computed on."""
        digest = hashlib.sha256()
        for column in sorted(self.frame.columns):
            digest.update(f"\x1e{column}".encode())
            for value in self.frame[column]:
                text = (
                    value if isinstance(value, bytes) else f"{value}".encode(errors="surrogatepass")
                )
                digest.update(b"\x1f" + text)
        return digest.hexdigest()

    def contents(self, rows: pd.DataFrame, side: str = "") -> list[str]:
        """Return the content ids of the examples in `rows`; for pairs, `side` is 1 or 2."""
        return [self.content_id(example) for example in rows[f"{self.column}{side}"]]

    def rows(self, column: str, value: str) -> pd.DataFrame:
        """Return the rows whose `column` (`split` or `role`) has this value.

        Raises:
            DataError: The column is missing, or no row has this value.
        """
        if column not in self.frame:
            raise DataError(f"Task {self.name!r} must have a column {column!r}, got none.")
        rows = self.frame[self.frame[column] == value]
        if rows.empty:
            raise DataError(f"Task {self.name!r} has no row whose {column} is {value!r}.")
        return rows.reset_index(drop=True)

    def splits(self, label: str, convert: Callable[[pd.Series], list[int] | list[float]]) -> Any:
        """Return the splits `train` and `test` for mteb, with converted labels in the column `label`."""
        from datasets import Dataset, DatasetDict

        splits = DatasetDict()
        for name in ("train", "test"):
            rows = self.rows("split", name)
            columns = {"text": self.contents(rows), label: convert(rows["label"])}
            splits[name] = Dataset.from_dict(columns)
        return splits

    def probe_on_standardised(self, linear: Any, network: Any) -> Any:
        """Return the task's probe, preceded by standardisation of the columns."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), network if self.probe == "mlp" else linear)


@dataclass(frozen=True)
class BenchmarkTask:
    """A task for mteb, with a function that reads the predictions that mteb saves.

    Attributes:
        name: The task's name in `params.yaml`.
        mteb: An instance of one of mteb's AbsTask classes, with its data loaded.
        predictions: Converts the predictions that mteb saves to a table with the columns `example, seed, prediction, target,
            score`. The mean of `score` is the main score (see `statistics.influence`).
        source: The rows that the task was built from.
        variant: The perturbation of the scored texts; empty for the task as it is.
    """

    name: str
    mteb: Any
    predictions: Callable[[Any], pd.DataFrame]
    source: TaskSource
    variant: str = ""


def local_task(
    source: TaskSource,
    task_class: Any,
    dataset: Any,
    predictions: Callable[[Any], pd.DataFrame],
    *,
    model: Any = None,
    **metadata: str,
) -> BenchmarkTask:
    """Return an mteb task with its data loaded, so that mteb downloads nothing.

    mteb treats every modality as text, because it sees only content ids.

    Args:
        source: The task's rows.
        task_class: One of mteb's AbsTask classes, or a subclass.
        dataset: The data that mteb's `load_data` would load.
        predictions: See `BenchmarkTask`.
        model: The probe, for tasks that fit a probe.
        metadata: `type`, `main_score` and `description`.
    """
    from mteb.abstasks.task_metadata import TaskMetadata

    pinned = {"path": f"local/{source.name}", "revision": source.revision}
    described = TaskMetadata.model_validate(
        {**metadata, "name": source.name, "dataset": pinned, "eval_langs": ["eng-Latn"]}
    )

    def keep(self: Any, predictions: Any, *_: Any, **__: Any) -> None:
        self.saved_predictions = predictions

    # mteb would write the predictions to a JSON file, which takes as long as the search in a retrieval task.
    members = {"metadata": described, "_save_task_predictions": keep}
    task = type(task_class.__name__, (task_class,), members)()
    task.dataset, task.data_loaded = dataset, True
    if model is not None:
        task.evaluator_model = model
    return BenchmarkTask(source.name, task, predictions, source)


class ProbeFittedOnce:
    """A probe that keeps its fit while it is given the same training rows, so that variants of a task need no fit."""

    def __init__(self, probe: Any) -> None:
        self.probe = probe
        self._fitted_on = ""

    def fit(self, X: Any, y: Any) -> None:  # noqa: N803  scikit-learn's name
        """Fit the probe, unless the embeddings `X`, `(n_rows, dim)`, and labels `y` are those of the last fit."""
        digest = hashlib.sha256(np.ascontiguousarray(X).tobytes())
        labels = np.asarray(y[:])  # a column of `datasets` is read row by row without the slice
        digest.update(labels.tobytes())
        if digest.hexdigest() != self._fitted_on:
            self.probe.fit(X, labels)
            self._fitted_on = digest.hexdigest()

    def predict(self, X: Any) -> Any:  # noqa: N803  scikit-learn's name
        """Return the probe's predictions, `(n_rows,)`."""
        return self.probe.predict(X)

    def get_params(self, *, deep: bool = True) -> dict[str, Any]:
        """Return the probe's parameters, which mteb reads."""
        return dict(self.probe.get_params(deep=deep))


def share_probe(task: BenchmarkTask, variant: BenchmarkTask) -> None:
    """Let a variant of a task use the task's fitted probe; kinds without a probe are left unchanged."""
    probe = vars(task.mteb).get("evaluator_model")
    if probe is not None:
        shared = probe if isinstance(probe, ProbeFittedOnce) else ProbeFittedOnce(probe)
        task.mteb.evaluator_model = variant.mteb.evaluator_model = shared


def prediction_frame(
    examples: Iterable[str],
    seed: int,
    predictions: Iterable[object],
    targets: Iterable[object],
    scores: Iterable[float],
) -> pd.DataFrame:
    """Return the predictions of one seed, one row per example; numbers have six significant digits."""
    shown = (
        [f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]
        for values in (predictions, targets)
    )
    rows = zip(examples, *shown, scores, strict=True)
    frame = pd.DataFrame(rows, columns=["example", "prediction", "target", "score"])
    frame.insert(1, "seed", seed)
    return frame
