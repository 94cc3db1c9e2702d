from __future__ import annotations

import numpy as np
import pytest

from polydistill.errors import ShapeError, UnknownNameError
from polydistill.teachers.fingerprint import FingerprintTeacher

KINDS = {"descriptors": 217, "morgan": 1024, "maccs": 167}


@pytest.mark.parametrize("kind", KINDS)
def test_ways_to_write_a_molecule_give_one_row(kind: str) -> None:
    found = FingerprintTeacher("f", 1, kind=kind, dim=KINDS[kind]).embed(["CCO", "OCC", "C(O)C"])

    assert found.values.shape == (3, KINDS[kind])
    np.testing.assert_allclose(found.values[0], found.values[1], atol=1e-6)
    np.testing.assert_allclose(found.values[0], found.values[2], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_molecule_or_too_large_is_a_missing_row(kind: str) -> None:
    found = FingerprintTeacher("f", 1, kind=kind, dim=KINDS[kind]).embed(
        ["no molecule", "C[N+](C)(C)C", "", "C" * 500]
    )

    assert found.present.tolist() == [False, True, False, False]
    assert not found.values[[0, 2, 3]].any()
    assert np.isfinite(found.values).all()


def test_descriptors_are_logarithms_of_known_values() -> None:
    ethanol = FingerprintTeacher("f", 1, kind="descriptors", dim=217).embed(["CCO"]).values[0]

    weight = np.log1p(46.069)  # g/mol, from the elements' standard weights
    assert np.abs(ethanol - weight).min() < 1e-5


def test_morgan_counts_its_environments() -> None:
    methane, ethane = FingerprintTeacher("f", 1, kind="morgan", dim=1024).embed(["C", "CC"]).values

    assert np.expm1(methane).sum() == pytest.approx(1)  # one atom
    assert np.expm1(ethane).sum() == pytest.approx(3)  # two atoms, and what is around both


def test_another_number_of_descriptors_is_an_error() -> None:
    with pytest.raises(ShapeError, match=r"\(1, 200\), got \(1, 217\)"):
        FingerprintTeacher("f", 1, kind="descriptors", dim=200).embed(["CCO"])


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'morgan'"):
        FingerprintTeacher("f", 1, kind="morgam", dim=1024)
