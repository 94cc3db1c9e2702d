from __future__ import annotations

import numpy as np
import pytest

from polydistill.contracts import Embeddings
from polydistill.errors import DataError, ShapeError
from polydistill.evaluation.encoder import LookupEncoder

VALUES = np.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]], dtype=np.float32)


def encoder(present: tuple[bool, ...] = (True, True, True)) -> LookupEncoder:
    embeddings = Embeddings(VALUES, np.array(present))
    return LookupEncoder("toy", "1", ["a", "b", "c"], embeddings)


def test_examples_are_looked_up_in_order_and_as_often_as_asked() -> None:
    found = encoder().encode([{"text": ["b", "a"]}, {"text": ["b"]}])

    assert found == pytest.approx(np.array([[0, 1], [0.6, 0.8], [0, 1]]))


def test_an_example_that_nobody_embedded_is_named() -> None:
    with pytest.raises(DataError, match=r"'toy' has no embedding of .*'zebra'.*embed stage"):
        encoder().look_up(["a", "zebra"])


def test_a_missing_embedding_is_a_zero_vector_and_counted() -> None:
    found = encoder((True, False, True))

    assert found.n_missing == 1
    assert found.look_up(["b"]) == pytest.approx(np.zeros((1, 2)))


def test_a_zero_vector_stays_zero() -> None:
    assert encoder().look_up(["c"]) == pytest.approx(np.zeros((1, 2)))


def test_looking_up_leaves_the_embeddings_as_they_were() -> None:
    before = VALUES.copy()

    encoder((True, False, True)).look_up(["a", "b"])

    assert (before == VALUES).all()


def test_ids_and_embeddings_must_be_as_many() -> None:
    with pytest.raises(ShapeError, match="must have 1 rows, got 3"):
        LookupEncoder("toy", "1", ["a"], Embeddings(VALUES, np.ones(3, dtype=bool)))


def test_an_embedding_that_is_not_finite_is_refused() -> None:
    values = np.array([[np.nan]], dtype=np.float32)

    with pytest.raises(DataError, match="must be finite"):
        LookupEncoder("toy", "1", ["a"], Embeddings(values, np.ones(1, dtype=bool)))
