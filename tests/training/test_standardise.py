from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from polydistill.training import standardise
from polydistill.training.standardise import fit_standardiser

VALUES = np.random.default_rng(0).normal(3.0, 0.04, (200, 5)).astype(np.float32)
ALL = np.ones(200, dtype=np.bool_)


def test_equals_scikit_learns_scaler() -> None:
    standardised = fit_standardiser(VALUES, ALL).apply(VALUES)

    expected = StandardScaler().fit_transform(VALUES.astype(np.float64))
    np.testing.assert_allclose(standardised, expected, atol=1e-4)


def test_rows_that_are_left_out_do_not_count() -> None:
    rows = np.arange(200) < 150
    changed = VALUES.copy()
    changed[150:] = 1e6

    first, second = fit_standardiser(VALUES, rows), fit_standardiser(changed, rows)

    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.std, second.std)


def test_a_dimension_that_never_varies_becomes_zero() -> None:
    constant = VALUES.copy()
    constant[:, 2] = 0.7

    standardised = fit_standardiser(constant, ALL).apply(constant)

    assert np.isfinite(standardised).all()
    np.testing.assert_allclose(standardised[:, 2], 0.0, atol=1e-6)


def test_no_rows_at_all_leave_values_as_they_are() -> None:
    standardiser = fit_standardiser(VALUES, ~ALL)

    np.testing.assert_array_equal(standardiser.apply(VALUES), VALUES)


@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-10, 10))
@settings(deadline=None)
def test_rescaling_a_teacher_changes_nothing(scale: float, shift: float) -> None:
    rescaled = (VALUES.astype(np.float64) * scale + shift * scale).astype(np.float32)

    standardised = fit_standardiser(rescaled, ALL).apply(rescaled)

    np.testing.assert_allclose(standardised, fit_standardiser(VALUES, ALL).apply(VALUES), atol=0.01)


def test_blocks_of_rows_give_the_statistics_of_one_piece_to_the_last_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standardise, "BLOCK", 64)
    values = np.random.default_rng(0).normal(3.0, 2.0, (1000, 150)).astype(np.float32)
    rows = np.arange(1000) % 3 > 0

    fitted = fit_standardiser(values, rows)

    used = values[rows].astype(np.float64)
    assert np.array_equal(fitted.mean, used.mean(axis=0).astype(np.float32))
    assert np.array_equal(fitted.std, used.std(axis=0).astype(np.float32))
