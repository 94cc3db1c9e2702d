"""Molecules as SMILES: reading, canonical form, parent and scaffold, all by RDKit."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Example
from polydistill.errors import MissingExtraError

MAX_ATOMS = 150
"""Without hydrogens: larger molecules are polymers and peptides, which no teacher here was trained on."""
MAX_CHARACTERS = 2_000
"""RDKit goes into every branch by recursion, and a chain of 20,000 atoms ends the process."""
CACHED = 200_000


def read_molecule(example: Example) -> Any | None:
    """Return RDKit's molecule; None where it is not a valid SMILES, has no atom, or is `MAX_CHARACTERS` long.

    Raises:
        MissingExtraError: RDKit is not installed.

    Examples:
        >>> read_molecule("CCO").GetNumAtoms()
        3
        >>> read_molecule("C1CC") is None, read_molecule("") is None
        (True, True)
    """
    try:
        from rdkit import Chem, rdBase
    except ImportError as error:
        raise MissingExtraError("Reading a SMILES", "molecules") from error
    text = as_smiles(example)
    if not text or len(text) > MAX_CHARACTERS or "\0" in text:  # C++ would end a string at the null
        return None
    with rdBase.BlockLogs():
        molecule: Any = Chem.MolFromSmiles(text)
    return molecule if molecule is not None and molecule.GetNumAtoms() else None


def as_smiles(example: Example) -> str:
    """Return the text of an example, without outer space; bytes that are no text become no SMILES."""
    text = example if isinstance(example, str) else example.decode("utf-8", "replace")
    return text.strip()


def directed_bonds(molecule: Any) -> NDArray[np.int64]:
    """Return `(2, 2 * n_bonds)`: each bond from its first atom to its second, then back."""
    ends: Iterable[tuple[int, int]] = (
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()
    )
    both = [direction for one, other in ends for direction in ((one, other), (other, one))]
    return np.array(both, dtype=np.int64).reshape(-1, 2).T


def count_atoms(example: Example) -> int:
    """Return the number of atoms, without hydrogens bound to others; 0 where the SMILES is not valid."""
    molecule = read_molecule(example)
    return 0 if molecule is None else int(molecule.GetNumAtoms())


@lru_cache(CACHED)
def canonical_smiles(example: Example) -> str | None:
    """Return the one SMILES that all of a molecule's share, with its stereochemistry; None if invalid.

    Examples:
        >>> canonical_smiles("OCC"), canonical_smiles("C(O)C"), canonical_smiles("not one")
        ('CCO', 'CCO', None)
    """
    from rdkit import Chem

    molecule = read_molecule(example)
    return None if molecule is None else str(Chem.MolToSmiles(molecule))


@lru_cache(CACHED)
def parent_smiles(example: Example) -> str | None:
    """Return the largest organic fragment, uncharged and without stereochemistry; None if invalid.

    Salts, solvates, enantiomers and protonation states of a compound share it.

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
    again = read_molecule(flat)  # what was changed and never read may be written otherwise
    return flat if again is None else str(Chem.MolToSmiles(again, isomericSmiles=False))


def scaffold_smiles(example: Example) -> str | None:
    """Return the Bemis-Murcko scaffold of the parent; '' where it has no ring, None if invalid.

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
    """Order fragments: those with carbon first, then by size; the SMILES breaks ties."""
    from rdkit import Chem

    organic = any(atom.GetAtomicNum() == 6 for atom in fragment.GetAtoms())
    return organic, int(fragment.GetNumAtoms()), str(Chem.MolToSmiles(fragment))
