from __future__ import annotations

import pytest

from polydistill.data.modalities.molecules import MoleculesModality
from polydistill.errors import DataError

molecules = MoleculesModality()


def test_one_molecule_has_one_id_however_it_is_written() -> None:
    assert len({molecules.content_id(one) for one in ("OCC", "C(O)C", " CCO ", b"CCO")}) == 1
    assert molecules.content_id("CCO") != molecules.content_id("CCN")


def test_a_salt_and_its_compound_are_near_and_not_equal() -> None:
    salt, compound = "[Na+].CC(=O)[O-]", "CC(=O)O"

    assert molecules.near_key(salt) == molecules.near_key(compound)
    assert molecules.content_id(salt) != molecules.content_id(compound)


def test_invalid_smiles_have_ids_and_keys_of_their_own() -> None:
    assert molecules.content_id("C1CC") != molecules.content_id("C1CCC")
    assert molecules.near_key("C1CC") == "C1CC"


def test_atoms_are_counted_and_what_is_invalid_counts_none() -> None:
    found = molecules.derived([["CCO"], ["C1CC"], [""], [], ["C" * 500], ["CC", "bad"]])

    assert found["n_atoms"] == [3, 0, 0, 0, 500, 0]


@pytest.mark.parametrize("wrong", ["C1CC", "", 3, None, b"\xff"])
def test_a_value_that_is_no_molecule_is_named(wrong: object) -> None:
    with pytest.raises(DataError, match="valid SMILES"):
        molecules.coerce(wrong)


def test_a_smiles_stays_as_it_is_written() -> None:
    assert molecules.coerce("OCC") == molecules.coerce(b"OCC") == "OCC"
