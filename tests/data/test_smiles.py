from __future__ import annotations

import pytest

from polydistill.data.smiles import canonical_smiles, count_atoms, parent_smiles, scaffold_smiles

LONG = "C" * 100_000  # canonicalising it crashes the process in RDKit
DEEP = "C(" * 50_000 + "C" + ")" * 50_000


@pytest.mark.parametrize(
    "wrong",
    ["", "  ", "C1CC", "not one", "C(C)(C)(C)(C)C", b"\xff", "CCO\0", LONG, DEEP],
    ids=["empty", "space", "open-ring", "words", "valence", "bytes", "null", "long", "deep"],
)
def test_invalid_smiles_have_no_canonical_form(wrong: str | bytes) -> None:
    assert canonical_smiles(wrong) is None
    assert parent_smiles(wrong) is None
    assert scaffold_smiles(wrong) is None
    assert count_atoms(wrong) == 0


def test_salts_charges_and_stereoisomers_of_a_compound_share_their_parent() -> None:
    alanines = ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O.Cl", "[Na+].CC(N)C(=O)[O-]"]

    assert {parent_smiles(one) for one in alanines} == {"CC(N)C(=O)O"}
    assert len({canonical_smiles(one) for one in alanines}) == 3


def test_the_organic_fragment_is_the_parent_even_if_smaller() -> None:
    assert parent_smiles("CO.F[P-](F)(F)(F)(F)F.[Na+]") == "CO"


def test_scaffolds_are_rings_and_their_linkers() -> None:
    assert scaffold_smiles("CC(=O)Oc1ccccc1CCC1CCNC1") == "c1ccc(CCC2CCNC2)cc1"
    assert scaffold_smiles("CCCCO") == ""


def test_hydrogen_is_a_molecule() -> None:
    assert count_atoms("[H][H]") == 2
    assert count_atoms("C" * 500) == 500
