"""SMILES reading and one-hot codes, shared by the teachers of molecules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from polydistill.contracts import Example
from polydistill.data.smiles import MAX_ATOMS, read_molecule
from polydistill.teachers._rows import ReadsExamples


class ReadsMolecules(ReadsExamples):
    """Passes RDKit molecules to `_run`; an invalid SMILES or too large a molecule gives a missing row.

    A molecule is too large if it has more than `max_atoms` atoms, without hydrogens.
    """

    batch_rows: ClassVar[int] = 64
    max_atoms: int = MAX_ATOMS

    def _read(self, example: Example) -> Any | None:
        molecule = read_molecule(example)
        fits = molecule is not None and molecule.GetNumAtoms() <= self.max_atoms
        return molecule if fits else None


def one_hot(value: object, choices: Sequence[object]) -> list[float]:
    """Return `len(choices) + 1` numbers: a one at the value's index, or at the last index for any other value."""
    row = [0.0] * (len(choices) + 1)
    row[choices.index(value) if value in choices else -1] = 1.0
    return row
