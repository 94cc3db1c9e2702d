from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydistill.data.smiles import (
    MAX_READABLE_ATOMS,
    canonical_smiles,
    count_atoms,
    parent_smiles,
    require_smiles,
    scaffold_smiles,
)
from polydistill.errors import DataError

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


MOLECULES = ["CC(=O)OCC", "c1ccncc1CCO", "C[C@H](N)C(=O)O", "CC(=O)[O-].[Na+]", "OCC=CC#N"]
NAMES = st.text(st.characters(exclude_characters="\t|\r\n", exclude_categories=["Cs"]), min_size=1)


@given(
    st.sampled_from(MOLECULES), st.sampled_from(MOLECULES), st.sampled_from(" \n\r\v\f\u2028\xa0")
)
def test_text_after_a_smiles_is_never_ignored(one: str, other: str, mark: str) -> None:
    with pytest.raises(DataError, match="Only the extension of a CXSMILES"):
        require_smiles(f"{one}{mark}{other}")


@given(st.sampled_from(MOLECULES), NAMES)
def test_a_name_after_a_tab_is_ignored(smiles: str, name: str) -> None:
    assert require_smiles(f"{smiles}\t{name}") == canonical_smiles(smiles)


@given(st.sampled_from(MOLECULES), st.text("wUDcrmo&atSgLN^$:;,.()0123456789-", max_size=20))
def test_the_extension_of_a_cxsmiles_is_read_or_named(smiles: str, extension: str) -> None:
    try:
        found = canonical_smiles(require_smiles(f"{smiles} |{extension}|"))
    except DataError as error:
        assert f"RDKit cannot read the extension '|{extension}|'." in str(error)  # noqa: PT017
    else:
        assert found


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("C=C(C)C1=CC=CC=C1 |wD:3.8|", "C=C(C)c1ccccc1"),
        ("Cc1cccc(O)c1-c1c(C)cccc1N |wU:7.7|", "Cc1cccc(N)c1-c1c(C)cccc1O"),
        ("C[C@H](N)C(=O)O |&1:1|", "CC(N)C(=O)O"),
        ("C[C@H](F)[C@@H](O)Cl |o1:1,&2:3|", "CC(F)C(O)Cl"),
        ("C[C@H](N)C(=O)O |r|", "CC(N)C(=O)O"),
        ("C[C@H](N)C(=O)O |a:1|", "C[C@H](N)C(=O)O"),
        ("C[C@H](F)Cl |w:1.0|\tunknown centre", "CC(F)Cl"),
        ("CC(F)(Cl)Br |(0,0,;1,0,;2,0,;1,1,;1,-1,),wU:1.0|", "C[C@](F)(Cl)Br"),
        ("[CH3:1][C@H:2]([NH2:9])F", "C[C@H](N)F"),
        ("[2H]C([2H])([2H])O", "[2H]C([2H])([2H])O"),
        ("[13CH3:4]O", "[13CH3]O"),
    ],
)
def test_extensions_maps_and_isotopes_have_one_treatment_each(written: str, read: str) -> None:
    assert require_smiles(written) == read == canonical_smiles(read)


@given(st.sampled_from(["CCO", "CC(=O)OCC", "CC(C)CCN", "CCCCS"]), st.sampled_from(["", "-"]))
def test_selfies_and_smarts_are_named(smiles: str, bond: str) -> None:
    atoms = [one for one in smiles if one.isalpha()]
    numbers = {"C": 6, "N": 7, "O": 8, "S": 16}

    for written in (
        bond.join(f"[{atom}]" for atom in atoms),
        bond.join(f"[#{numbers[atom]}]" for atom in atoms),
        "".join(f"[{atom}]" for atom in atoms) + "[Branch1][=O]",
    ):
        with pytest.raises(DataError, match="SELFIES or SMARTS"):
            require_smiles(written)


@pytest.mark.parametrize(
    "inorganic", ["[Na+].[Cl-]", "[C-]#[O+]", "[O][O]", "[C]=[W]", "[N-]=[N+]=[N-].[Na+]", "[He]"]
)
def test_molecules_without_hydrogens_are_read(inorganic: str) -> None:
    assert canonical_smiles(inorganic)


@given(st.integers(MAX_READABLE_ATOMS + 1, 10**5), st.sampled_from(["C", "[13CH2]", "N", "Cl."]))
def test_a_long_smiles_is_refused_by_its_number_of_atoms(n: int, atom: str) -> None:
    with pytest.raises(DataError, match=rf"too long: {n:,} atoms, at most 1,000\.$") as caught:
        require_smiles(atom * n)

    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "wrong", ["C" + "=" * 19_000 + "C", "C" + "1" * 18_000, "C" + "(" * 30_000]
)
def test_characters_without_atoms_do_not_crash(wrong: str) -> None:
    assert canonical_smiles(wrong) is None


@given(st.one_of(st.text(), st.binary()))
def test_any_input_is_read_or_refused(value: str | bytes) -> None:
    assert (canonical_smiles(value) is None) == (count_atoms(value) == 0)
