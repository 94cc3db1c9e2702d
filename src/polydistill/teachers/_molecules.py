"""What teachers of molecules share: reading SMILES, and codes of what an atom is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.smiles import MAX_ATOMS, read_molecule
from polydistill.teachers._rows import embed_readable

BATCH_ROWS = 64


def embed_molecules(
    name: str,
    dim: int,
    examples: Sequence[Example],
    run: Callable[[Sequence[Any]], FloatArray],
    *,
    max_atoms: int = MAX_ATOMS,
) -> Embeddings:
    """Embed SMILES, given to `run` as RDKit molecules; an invalid one, or one of too many atoms, is a missing row.

    See `embed_readable`. Hydrogens do not count.
    """

    def read(example: Example) -> Any | None:
        molecule = read_molecule(example)
        fits = molecule is not None and molecule.GetNumAtoms() <= max_atoms
        return molecule if fits else None

    return embed_readable(name, dim, examples, read, run, BATCH_ROWS)


def one_hot(value: object, choices: Sequence[object]) -> list[float]:
    """Return `len(choices) + 1` numbers: a one at the value's place, or at the last for any other."""
    row = [0.0] * (len(choices) + 1)
    row[choices.index(value) if value in choices else -1] = 1.0
    return row
