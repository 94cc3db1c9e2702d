from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from polydistill.errors import DataError
from polydistill.evaluation.information.sufficiency import Sufficiency, estimate_sufficiency

Floats = NDArray[np.float64]
ROWS = 8_000
KNOWN = 4.087
"""Nats of eight pairs of normals with a correlation of 0.8: -4 log(1 - 0.8²)."""


def draw(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape)


def known_pair(dim: int = 8) -> tuple[Floats, Floats]:
    x = draw(1, ROWS, dim)
    return x, 0.8 * x + 0.6 * draw(2, ROWS, dim)


def estimate(x: Floats, y: Floats, seed: int = 0) -> Sufficiency:
    held_out = np.arange(len(x)) % 5 == 0
    return estimate_sufficiency(x.astype(np.float32), y.astype(np.float32), held_out, seed=seed)


def test_a_known_gaussian_pair_has_its_nats() -> None:
    found = estimate(*known_pair())

    assert pytest.approx(-4 * math.log(0.36), abs=1e-3) == KNOWN
    assert found.nats == pytest.approx(KNOWN, abs=0.2)
    assert found.low < found.nats < found.high
    assert found.high - found.low < 0.4
    assert found.n_held_out == ROWS // 5


def test_invertible_maps_of_either_table_change_nothing() -> None:
    x, y = known_pair()
    scales = np.geomspace(0.1, 10, 8)

    mixed = estimate(x @ draw(3, 8, 8), (y * scales) @ draw(4, 8, 8) + 5)

    assert mixed.nats == pytest.approx(KNOWN, abs=0.2)


def test_a_repeated_dimension_tells_nothing_more() -> None:
    x, y = known_pair(4)

    once, twice = estimate(x, y), estimate(x, np.hstack([y, y]))

    assert twice.nats == pytest.approx(once.nats, abs=0.05)


@pytest.mark.parametrize("dim", [8, 100])
def test_independent_tables_tell_nothing(dim: int) -> None:
    found = estimate(draw(1, ROWS, dim), draw(2, ROWS, dim))

    assert found.nats == pytest.approx(0, abs=0.05)


def test_a_wide_table_with_few_rows_is_not_credited_with_what_it_overfits() -> None:
    found = estimate(draw(1, 600, 200), draw(2, 600, 5))

    assert found.nats < 0.05


def test_what_is_in_the_norm_alone_is_found() -> None:
    level = draw(1, ROWS)
    directions = draw(2, ROWS, 8)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    y = (0.8 * level + 0.6 * draw(3, ROWS))[:, None]

    with_norm = estimate(directions * np.exp(level / 2)[:, None], y)
    without = estimate(directions, y)

    assert with_norm.nats == pytest.approx(-0.5 * math.log(0.36), abs=0.08)
    assert without.nats == pytest.approx(0, abs=0.03)


def test_information_in_the_scale_alone_is_found() -> None:
    x = np.random.default_rng(1).choice([-1.0, 1.0], size=(ROWS, 1))

    found = estimate(x, 4**x * draw(2, ROWS, 1))

    assert 0.2 < found.nats < math.log(2)  # a scale of 1/4 or of 4: nearly, but not quite, one bit


def test_two_clusters_are_worth_one_bit_however_far_apart() -> None:
    side = np.random.default_rng(1).choice([-1.0, 1.0], size=(ROWS, 1))

    found = estimate(side, side + 0.05 * draw(2, ROWS, 1))

    assert found.nats == pytest.approx(math.log(2), abs=0.03)  # one Gaussian would say log 20


def test_each_further_dimension_adds_its_share() -> None:
    x, y = known_pair()

    nats = [estimate(x[:, :known], y).nats for known in (2, 4, 8)]

    assert nats == pytest.approx([KNOWN / 4, KNOWN / 2, KNOWN], abs=0.2)


def test_the_same_seed_says_the_same_and_another_nearly() -> None:
    pair = known_pair()

    assert estimate(*pair) == estimate(*pair)
    assert estimate(*pair, seed=1) != estimate(*pair)
    assert estimate(*pair, seed=1).nats == pytest.approx(KNOWN, abs=0.2)


def test_copies_of_a_row_do_not_make_the_interval_narrow() -> None:
    x, y = (np.repeat(part[:800], 10, axis=0).astype(np.float32) for part in known_pair())
    groups = np.repeat(np.arange(800), 10)

    copies = estimate_sufficiency(x, y, groups % 5 == 0, groups=groups)
    apart = estimate(*known_pair())

    assert copies.n_held_out == apart.n_held_out
    assert copies.nats == pytest.approx(KNOWN, abs=0.5)  # validated on groups of their own
    assert copies.high - copies.low > 2 * (apart.high - apart.low)


TABLE = np.zeros((100, 3), dtype=np.float32)


def test_too_few_rows_are_refused_with_how_many_there_must_be() -> None:
    wide = np.zeros((100, 60), dtype=np.float32)

    with pytest.raises(DataError, match="60 dimensions needs at least 120 rows"):
        estimate_sufficiency(wide, wide, np.arange(100) % 2 == 0)
    with pytest.raises(DataError, match="`held_out` must name rows"):
        estimate_sufficiency(TABLE, TABLE, np.zeros(100, dtype=np.bool_))
