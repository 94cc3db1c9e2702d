from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polydistill.errors import DataError
from polydistill.teachers.static_vectors import StaticVectorsTeacher

WORDS = ["the", "cat", "sat"]
VECTORS = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32)


def make(folder: Path, vectors: np.ndarray = VECTORS) -> StaticVectorsTeacher:
    pd.DataFrame({"index": WORDS}).to_parquet(folder / "words.parquet")
    np.save(folder / "vectors.npy", vectors)
    return StaticVectorsTeacher(
        "words",
        1,
        vocabulary=str(folder / "words.parquet"),
        vectors=str(folder / "vectors.npy"),
        dim=2,
    )


def test_words_count_by_their_rarity(tmp_path: Path) -> None:
    zipf = np.array([1, 1 / 2, 1 / 3])
    weights = 1e-3 / (1e-3 + zipf / zipf.sum())  # Arora et al. 2017, with a = 1e-3
    expected = weights[0] * VECTORS[0] + weights[1] * VECTORS[1]

    values = make(tmp_path).embed(["The cat!"]).values[0]

    np.testing.assert_allclose(values, expected / np.linalg.norm(expected), rtol=1e-5)


def test_a_text_without_known_words_has_no_embedding(tmp_path: Path) -> None:
    result = make(tmp_path).embed(["sat", "unheard", ""])

    assert result.present.tolist() == [True, False, False]
    assert (result.values[1:] == 0).all()


def test_a_table_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\(3, 2\), got \(2, 2\)"):
        make(tmp_path, VECTORS[:2]).embed(["cat"])
