from __future__ import annotations

import pytest

from polydistill.data.modalities.molecules import MoleculesModality
from polydistill.errors import DataError

molecules = MoleculesModality()


def test_all_spellings_of_a_molecule_have_one_id() -> None:
    assert len({molecules.content_id(one) for one in ("OCC", "C(O)C", " CCO ", b"CCO")}) == 1
    assert molecules.content_id("CCO") != molecules.content_id("CCN")


def test_a_salt_and_its_compound_share_the_near_key_but_not_the_id() -> None:
    salt, compound = "[Na+].CC(=O)[O-]", "CC(=O)O"

    assert molecules.near_key(salt) == molecules.near_key(compound)
    assert molecules.content_id(salt) != molecules.content_id(compound)


def test_invalid_smiles_have_distinct_ids_and_keys() -> None:
    assert molecules.content_id("C1CC") != molecules.content_id("C1CCC")
    assert molecules.near_key("C1CC") == "C1CC"


def test_atoms_are_counted_and_invalid_smiles_have_none() -> None:
    found = molecules.derived([["CCO"], ["C1CC"], [""], [], ["C" * 500], ["CC", "bad"]])

    assert found["n_atoms"] == [3, 0, 0, 0, 500, 0]


@pytest.mark.parametrize("wrong", ["C1CC", "", 3, None, b"\xff"])
def test_an_invalid_molecule_is_named_in_the_error(wrong: object) -> None:
    with pytest.raises(DataError, match="valid SMILES"):
        molecules.coerce(wrong)


def test_a_molecule_is_read_as_its_canonical_smiles() -> None:
    assert molecules.coerce("OCC") == molecules.coerce(b"OCC\tethanol") == "CCO"
