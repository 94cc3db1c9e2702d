from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from polydistill.contracts import Embeddings
from polydistill.errors import DataError
from polydistill.evaluation.benchmark import run_task
from polydistill.evaluation.encoder import LookupEncoder
from polydistill.evaluation.task import TaskSource
from polydistill.evaluation.tasks import BENCHMARKS

pytest.importorskip("mteb")


def pairs(n: int = 80) -> pd.DataFrame:
    numbers = np.arange(n)
    return pd.DataFrame(
        {
            "id": [f"pair-{number}" for number in numbers],
            "text1": [f"text {number}" for number in numbers],
            "text2": [f"text {(number * 3 + 1) % n}" for number in numbers],
            "label": np.where(numbers % 4 == 0, "1", "0"),
        }
    )


def test_the_score_is_scikit_learns_average_precision_of_the_cosines() -> None:
    frame = pairs()
    vectors = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    ids = [f"text {number}" for number in range(80)]
    encoder = LookupEncoder("m", "r", ids, Embeddings(vectors, np.ones(80, np.bool_)))
    task = BENCHMARKS.get("pair-classification")(TaskSource("toy", frame, "text", str))

    run = run_task(encoder, task)

    one, two = (encoder.look_up(frame[side]) for side in ("text1", "text2"))
    expected = average_precision_score(frame["label"] == "1", (one * two).sum(axis=1))
    assert run.score == pytest.approx(expected, abs=1e-6)
    assert set(run.predictions["target"]) == {"0", "1"}


@pytest.mark.parametrize("label", ["0", "1"])
def test_pairs_of_one_kind_are_refused(label: str) -> None:
    with pytest.raises(DataError, match=f"pairs with the label 0, got only '{label}'"):
        BENCHMARKS.get("pair-classification")(
            TaskSource("toy", pairs().assign(label=label), "text", str)
        )
