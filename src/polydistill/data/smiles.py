"""Molecules as SMILES: parsing, canonical form, parent and scaffold, by RDKit."""

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Example
from polydistill.errors import DataError, needs_extra, short

MAX_ATOMS = 150
"""The greatest number of heavy atoms: larger molecules are polymers and peptides, unknown to the teachers."""
MAX_READABLE_ATOMS = 1_000
"""The greatest number of atoms that is read: RDKit is recursive, and a chain of 20,000 atoms crashes the process."""
MAX_CHARACTERS = 20 * MAX_READABLE_ATOMS
CACHED = 200_000
ATOM = re.compile(r"\[[^\]]*\]|Br|Cl|[BCNOPSFI*bcnops]")
ROW = re.compile(r"([^\s\0]+)([ \t]\|[^|\r\n\0]*\|)?(\t[^\r\n]*)?")  # in C++, NUL ends a string
"""A SMILES, the extension of a CXSMILES, and a name after a tab; only the SMILES is required."""
RELATIVE = re.compile(r"[|,]r[|,]")
"""The mark of an extension that states that all centres are relative."""
ORGANIC = frozenset({5, 6, 7, 8, 9, 15, 16, 17, 35, 53})
"""The elements that SMILES writes without brackets."""
ROUNDS = 8


def read_molecule(example: Example) -> Any | None:
    """Return RDKit's molecule of the canonical SMILES; None if `canonical_smiles` is None.

    Therefore all SMILES of a molecule give one order of the atoms, and one embedding.

    Raises:
        MissingExtraError: RDKit is not installed.

    Examples:
        >>> read_molecule("CCO").GetNumAtoms()
        3
        >>> read_molecule("C1CC") is None, read_molecule("") is None
        (True, True)
    """
    canonical = canonical_smiles(example)
    return None if canonical is None else _parsed(canonical)


def require_smiles(example: Example) -> str:
    """Return the canonical SMILES; see `canonical_smiles`.

    Raises:
        DataError: The example is not a molecule that can be read.

    Examples:
        >>> require_smiles("C" * 100_000)
        Traceback (most recent call last):
            ...
        polydistill.errors.DataError: A molecule must be a valid SMILES ... It is too long: 100,000 atoms, at most 1,000.
    """
    canonical, reason = _canonical(example)
    if canonical is None:
        raise DataError(
            "A molecule must be a valid SMILES with at least one atom, got "
            f"{short(as_smiles(example))}. {reason}".rstrip()
        )
    return canonical


def as_smiles(example: Example) -> str:
    """Return the text of an example without surrounding space; bytes that are not UTF-8 give an invalid SMILES."""
    text = example if isinstance(example, str) else example.decode("utf-8", "replace")
    return text.strip()


def chirality(atom: Any) -> int:
    """Return 1 for the CIP label R, 2 for S, and RDKit's chiral tag for an atom without a label (0: no stereocentre).

    A tag depends on the order in which the neighbours are written. In the canonical SMILES too, the tags of 3 % of the
    pairs of mirror images are equal.
    """
    if atom.HasProp("_CIPCode"):
        return 1 if atom.GetProp("_CIPCode") == "R" else 2
    return int(atom.GetChiralTag())


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


def canonical_smiles(example: Example) -> str | None:
    """Return the canonical SMILES of a molecule; None if `require_smiles` raises.

    It keeps stereochemistry and isotopes. It has no atom map numbers. Of a CXSMILES it keeps what SMILES can express:
    a centre that is marked as racemic or relative is not specified, and an atropisomer has no axis.

    Examples:
        >>> canonical_smiles("OCC"), canonical_smiles("[CH3:7][CH2:8]O"), canonical_smiles("not one")
        ('CCO', 'CCO', None)
        >>> canonical_smiles("C[C@H](N)C(=O)O |&1:1|"), canonical_smiles("[2H]OC")
        ('CC(N)C(=O)O', '[2H]OC')
    """
    return _canonical(example)[0]


@lru_cache(CACHED)
def _canonical(example: Example) -> tuple[str | None, str]:
    """Return the canonical SMILES, or None and the reason, a sentence."""
    smiles, extension, reason = _fields(as_smiles(example))
    if reason:
        return None, reason
    molecule = _parsed(smiles + extension)
    if _lacks_hydrogens(smiles, molecule):
        return None, "It is SELFIES or SMARTS: every atom is in brackets, and none has hydrogens."
    if molecule is None:
        return None, f"RDKit cannot read the extension {short(extension[1:])}." if extension else ""
    settled = _settled(molecule, smiles, extension)
    return settled, "" if settled else "RDKit cannot read its own canonical form."


def _fields(text: str) -> tuple[str, str, str]:
    """Return the SMILES, the extension of a CXSMILES, and the reason why RDKit must not read them, or ''."""
    row = ROW.fullmatch(text)
    reason = "" if text else "It is blank."
    if text and row is None:
        reason = "Only the extension of a CXSMILES, or a tab and a name, may follow a SMILES."
    if row and (n_atoms := len(ATOM.findall(row[1]))) > MAX_READABLE_ATOMS:
        reason = f"It is too long: {n_atoms:,} atoms, at most {MAX_READABLE_ATOMS:,}."
    elif len(text) > MAX_CHARACTERS:
        reason = f"It is too long: {len(text):,} characters, at most {MAX_CHARACTERS:,}."
    return (row[1], row[2] or "", reason) if row else ("", "", reason)


def _parsed(smiles: str) -> Any | None:
    """Return RDKit's molecule; None if the SMILES or its extension is invalid, or it has no atom."""
    with needs_extra("Reading a SMILES", "molecules"):
        from rdkit import Chem, rdBase
    with rdBase.BlockLogs():
        molecule: Any = Chem.MolFromSmiles(smiles)
    return molecule if molecule is not None and molecule.GetNumAtoms() else None


def _lacks_hydrogens(smiles: str, molecule: Any | None) -> bool:
    """Return whether a SMILES looks like SELFIES or SMARTS: every atom is in brackets, and none has a hydrogen."""
    tokens = ATOM.findall(smiles)
    if len(tokens) < 2 or not all(token.startswith("[") for token in tokens):
        return False
    if molecule is None:
        return not any("H" in token for token in tokens)
    atoms = list(molecule.GetAtoms())
    return all(
        atom.GetAtomicNum() in ORGANIC and not atom.GetTotalNumHs() for atom in atoms
    ) and any(atom.GetAtomicNum() == 6 and atom.GetNumRadicalElectrons() for atom in atoms)


def _settled(molecule: Any, smiles: str, extension: str) -> str | None:
    """Return the canonical SMILES of a molecule that was read from `smiles` and the extension.

    It is read and written again until it no longer changes, because RDKit's first form is not always stable.
    """
    from rdkit import Chem

    for atom in molecule.GetAtoms():
        atom.SetAtomMapNum(0)
    groups = [
        one
        for one in molecule.GetStereoGroups()
        if one.GetGroupType() != Chem.StereoGroupType.STEREO_ABSOLUTE
    ]
    marked = [atom for group in groups for atom in group.GetAtoms()]
    for atom in molecule.GetAtoms() if RELATIVE.search(extension) else marked:
        atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    found = [smiles]
    for _ in range(ROUNDS):
        smiles = str(Chem.MolToSmiles(molecule))
        if smiles in found:
            return min(found[found.index(smiles) :])
        found.append(smiles)
        molecule = _parsed(smiles)
        if molecule is None:
            return None
    return found[-1]


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
    if "." in (canonical_smiles(example) or ""):
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
