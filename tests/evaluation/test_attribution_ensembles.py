from __future__ import annotations

import numpy as np
import pytest

from polydistill.contracts import Embeddings, FloatArray
from polydistill.evaluation.attribution import join, make_block


def embeddings(n: int, dim: int, seed: int = 0) -> Embeddings:
    values = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return Embeddings(values, np.ones(n, dtype=np.bool_))


def cosines(values: FloatArray) -> FloatArray:
    scaled = values / np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(scaled @ scaled.T)


def test_a_wide_teacher_is_cut_and_a_narrow_one_is_not() -> None:
    assert make_block(embeddings(60, 40), width=16).values.shape == (60, 16)
    assert make_block(embeddings(60, 8), width=16).values.shape == (60, 8)


def test_a_block_keeps_the_cosines_of_centred_rows() -> None:
    given = embeddings(50, 8)
    scaled = given.values / np.linalg.norm(given.values, axis=1, keepdims=True)

    block = make_block(given, width=8)

    assert cosines(block.values) == pytest.approx(cosines(scaled - scaled.mean(axis=0)), abs=1e-5)
    assert np.linalg.norm(block.values, axis=1) == pytest.approx(1, abs=1e-5)


def test_how_large_the_numbers_are_does_not_matter() -> None:
    given = embeddings(50, 8)
    louder = Embeddings(1000 * given.values, given.present)

    assert make_block(louder).values == pytest.approx(make_block(given).values, abs=1e-4)


def test_the_cosines_of_an_ensemble_are_the_means_of_its_teachers() -> None:
    blocks = [make_block(embeddings(40, dim, seed=dim), width=16) for dim in (6, 30)]

    together = join(blocks)

    assert together.values.shape == (40, 22)
    mean = np.mean([cosines(block.values) for block in blocks], axis=0)
    assert cosines(together.values) == pytest.approx(mean, abs=1e-5)


def test_missing_rows_are_zeros_and_move_no_other_row() -> None:
    given = embeddings(30, 6)
    present = np.arange(30) != 7
    holed = Embeddings(np.where(present[:, None], given.values, 0), present)

    block = make_block(holed)

    assert not block.values[7].any()
    kept = make_block(Embeddings(given.values[present], present[present]))
    assert block.values[present] == pytest.approx(kept.values, abs=1e-6)
    assert join([block, make_block(given)]).present.all()


def test_a_teacher_that_says_the_same_of_everything_is_silent() -> None:
    same = Embeddings(np.full((20, 5), 0.3, np.float32), np.ones(20, dtype=np.bool_))
    nothing = Embeddings(np.zeros((20, 5), np.float32), np.zeros(20, dtype=np.bool_))

    assert not make_block(same).values.any()
    assert not make_block(nothing).values.any()
