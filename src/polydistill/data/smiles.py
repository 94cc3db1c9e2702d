"""Molecules as SMILES: parsing, canonical form, parent and scaffold, by RDKit."""

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Example
from polydistill.errors import needs_extra

MAX_ATOMS = 150
"""The greatest number of heavy atoms: larger molecules are polymers and peptides, unknown to the teachers."""
MAX_CHARACTERS = 2_000
"""The length limit of a SMILES: RDKit's parser is recursive, and a chain of 20,000 atoms crashes the process."""
CACHED = 200_000


def read_molecule(example: Example) -> Any | None:
    """Return RDKit's molecule; None if the SMILES is invalid, has no atom, or exceeds `MAX_CHARACTERS`.

    Raises:
        MissingExtraError: RDKit is not installed.

    Examples:
        >>> read_molecule("CCO").GetNumAtoms()
        3
        >>> read_molecule("C1CC") is None, read_molecule("") is None
        (True, True)
    """
    with needs_extra("Reading a SMILES", "molecules"):
        from rdkit import Chem, rdBase
    text = as_smiles(example)
    if not text or len(text) > MAX_CHARACTERS or "\0" in text:  # in C++, NUL ends a string
        return None
    with rdBase.BlockLogs():
        molecule: Any = Chem.MolFromSmiles(text)
    return molecule if molecule is not None and molecule.GetNumAtoms() else None


def as_smiles(example: Example) -> str:
    """Return the text of an example without surrounding space; bytes that are not UTF-8 give an invalid SMILES."""
    text = example if isinstance(example, str) else example.decode("utf-8", "replace")
    return text.strip()


def directed_bonds(molecule: Any) -> NDArray[np.int64]:
    """Return `(2, 2 * n_bonds)`: for each bond, the edge from its first atom to its second, then the reverse."""
    ends: Iterable[tuple[int, int]] = (
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()
    )
    both = [direction for one, other in ends for direction in ((one, other), (other, one))]
    return np.array(both, dtype=np.int64).reshape(-1, 2).T


def count_atoms(example: Example) -> int:
    """Return the number of atoms without bound hydrogens; 0 if the SMILES is invalid."""
    molecule = read_molecule(example)
    return 0 if molecule is None else int(molecule.GetNumAtoms())


@lru_cache(CACHED)
def canonical_smiles(example: Example) -> str | None:
    """Return the canonical SMILES of a molecule, with its stereochemistry; None if the SMILES is invalid.

    Examples:
        >>> canonical_smiles("OCC"), canonical_smiles("C(O)C"), canonical_smiles("not one")
        ('CCO', 'CCO', None)
    """
    from rdkit import Chem

    molecule = read_molecule(example)
    return None if molecule is None else str(Chem.MolToSmiles(molecule))


@lru_cache(CACHED)
def parent_smiles(example: Example) -> str | None:
    """Return the largest organic fragment, uncharged and without stereochemistry; None if the SMILES is invalid.

    Salts, solvates, enantiomers and protonation states of a compound have the same parent.

    Examples:
        >>> parent_smiles("C[C@H](N)C(=O)O.Cl") == parent_smiles("C[C@@H]([NH3+])C(=O)[O-]")
        True
        >>> parent_smiles("[Na+].CC(=O)[O-]")
        'CC(=O)O'
    """
    from rdkit import Chem, rdBase

    molecule = read_molecule(example)
    if molecule is None:
        return None
    if "." in as_smiles(example):
        molecule = max(Chem.GetMolFrags(molecule, asMols=True), key=_organic_size)
    if any(atom.GetFormalCharge() for atom in molecule.GetAtoms()):
        with rdBase.BlockLogs():
            molecule = _uncharger().uncharge(molecule)
    flat = str(Chem.MolToSmiles(molecule, isomericSmiles=False))
    # The SMILES of an edited molecule is canonical only after it has been parsed again.
    again = read_molecule(flat)
    return flat if again is None else str(Chem.MolToSmiles(again, isomericSmiles=False))


def scaffold_smiles(example: Example) -> str | None:
    """Return the Bemis-Murcko scaffold of the parent; '' if it has no ring, None if the SMILES is invalid.

    References:
        Bemis and Murcko 1996, "The properties of known drugs. 1. Molecular frameworks".

    Examples:
        >>> scaffold_smiles("CCc1ccccc1"), scaffold_smiles("CCO")
        ('c1ccccc1', '')
    """
    from rdkit import rdBase
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    parent = parent_smiles(example)
    if parent is None or read_molecule(parent) is None:
        return parent
    with rdBase.BlockLogs():
        return str(MurckoScaffoldSmiles(parent))  # type: ignore[no-untyped-call]


@cache
def _uncharger() -> Any:
    from rdkit.Chem.MolStandardize.rdMolStandardize import Uncharger

    return Uncharger()


def _organic_size(fragment: Any) -> tuple[bool, int, str]:
    """Return the sort key of a fragment: whether it has carbon, its number of atoms, and its SMILES to break ties."""
    from rdkit import Chem

    organic = any(atom.GetAtomicNum() == 6 for atom in fragment.GetAtoms())
    return organic, int(fragment.GetNumAtoms()), str(Chem.MolToSmiles(fragment))
