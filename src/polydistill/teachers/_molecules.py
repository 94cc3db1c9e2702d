"""Molecular graphs, shared by the teachers of molecules."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Graph = dict[str, NDArray[Any]]
BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
"""The types of bonds; any other type has a code of its own."""


def one_hot(value: object, choices: Sequence[object]) -> list[float]:
    """Return `len(choices) + 1` numbers: a one at the value's index, or at the last index for any other value."""
    row = [0.0] * (len(choices) + 1)
    row[choices.index(value) if value in choices else -1] = 1.0
    return row


def batch_graphs(graphs: Sequence[Graph], atoms: str) -> Graph:
    """Combine graphs into one, with each atom's graph index as `batch`.

    Args:
        graphs: Per molecule, the rows of atoms and bonds by name, and `edge_index`, `(2, directed bonds)`.
        atoms: The name of an array with one row per atom.
    """
    sizes = np.array([len(graph[atoms]) for graph in graphs])
    first = np.cumsum(sizes) - sizes
    ends = [graph["edge_index"] + start for graph, start in zip(graphs, first, strict=True)]
    rows = {
        name: np.concatenate([graph[name] for graph in graphs]).astype(np.float32)
        for name in graphs[0]
        if name != "edge_index"
    }
    batch = np.repeat(np.arange(len(graphs)), sizes)
    return {**rows, "edge_index": np.concatenate(ends, axis=1), "batch": batch}
