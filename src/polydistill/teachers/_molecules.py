"""What teachers of molecules share: reading SMILES, and rows for those that are molecules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.errors import ShapeError
from polydistill.smiles import MAX_ATOMS, read_molecule

BATCH_ROWS = 64


def embed_molecules(
    name: str,
    dim: int,
    examples: Sequence[Example],
    run: Callable[[Sequence[Any]], FloatArray],
    *,
    max_atoms: int = MAX_ATOMS,
) -> Embeddings:
    """Embed what can be read; an invalid SMILES, or one of too many atoms, is a missing row.

    Args:
        name: The teacher's, for messages.
        dim: Its width.
        examples: SMILES.
        run: From RDKit molecules to `(batch, dim)`; called with `BATCH_ROWS` of them at most.
        max_atoms: Without hydrogens; larger molecules are missing.

    Raises:
        ShapeError: `run` gave another shape.
    """
    values = np.zeros((len(examples), dim), dtype=np.float32)
    present = np.zeros(len(examples), dtype=np.bool_)
    for start in range(0, len(examples), BATCH_ROWS):
        read = map(read_molecule, examples[start : start + BATCH_ROWS])
        batch = {
            start + place: molecule
            for place, molecule in enumerate(read)
            if molecule is not None and molecule.GetNumAtoms() <= max_atoms
        }
        if not batch:
            continue
        rows = list(batch)
        given = run(list(batch.values()))
        if given.shape != (len(rows), dim):
            raise ShapeError(
                f"Teacher {name!r} must give shape {(len(rows), dim)}, got {given.shape}."
            )
        values[rows], present[rows] = given, np.isfinite(given).all(axis=1)
    values[~present] = 0.0
    return Embeddings(values, present)


def one_hot(value: object, choices: Sequence[object]) -> list[float]:
    """Return `len(choices) + 1` numbers: a one at the value's place, or at the last for any other."""
    row = [0.0] * (len(choices) + 1)
    row[choices.index(value) if value in choices else -1] = 1.0
    return row


def directed_bonds(molecule: Any) -> NDArray[np.int64]:
    """Return `(2, 2 * n_bonds)`: each bond from its first atom to its second, then back."""
    ends: Iterable[tuple[int, int]] = (
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()
    )
    both = [direction for one, other in ends for direction in ((one, other), (other, one))]
    return np.array(both, dtype=np.int64).reshape(-1, 2).T
