from __future__ import annotations

import pandas as pd
import pytest

from polydistill.benchmarks import BENCHMARKS, TaskSource
from polydistill.errors import DataError

pytest.importorskip("mteb")


def test_a_label_that_only_the_test_split_has_is_named() -> None:
    frame = pd.DataFrame(
        {
            "id": ["1", "2", "3"],
            "text": ["a", "b", "c"],
            "label": ["x", "y", "z"],
            "split": ["train", "train", "test"],
        }
    )

    with pytest.raises(DataError, match="no training row has the label 'z'"):
        BENCHMARKS.get("classification")(TaskSource("toy", frame, "text"))


def test_helpers_are_no_task_kinds() -> None:
    assert BENCHMARKS.names() == ["classification", "clustering", "regression", "sts"]
