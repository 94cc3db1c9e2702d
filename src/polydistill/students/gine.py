"""GINE, a graph neural network over atoms and bonds, with a readout that depends on the size of the molecule."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polydistill.config.nodes import Below1, Depth, Width
from polydistill.contracts import Example
from polydistill.data.smiles import CACHED, chirality, directed_bonds, read_molecule, require_smiles
from polydistill.errors import needs_extra
from polydistill.students import STUDENTS
from polydistill.students._bundle import NetworkStudent

ATOM_CODES = {
    "GetAtomicNum": 119,
    "GetChiralTag": 4,
    "GetTotalDegree": 12,
    "GetFormalCharge": 12,
    "GetTotalNumHs": 10,
    "GetHybridization": 9,
    "GetIsAromatic": 2,
    "IsInRing": 2,
}
"""The methods of an RDKit atom that return its codes, and the number of different codes per method.

`chirality` replaces the chiral tag.
"""
BOND_CODES = {"GetBondType": 22, "GetStereo": 6, "GetIsConjugated": 2, "IsInRing": 2}
"""The methods of an RDKit bond that return its codes, and the number of different codes per method."""
OFFSETS = {"GetFormalCharge": 5}
"""The number added to the values of a method that can return negative values."""
TYPICAL_ATOMS = 20.0
"""A typical number of atoms per molecule; the readout divides the sum over atoms by this number."""


class GineNetwork(nn.Module):
    """Message passing over atoms and bonds; the mean, sum and maximum of the atom states are mapped to an embedding.

    The arguments are those of `GineStudent.build`.
    """

    def __init__(self, dim: int, layers: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.atoms = nn.ModuleList(nn.Embedding(size, hidden) for size in ATOM_CODES.values())
        self.bonds = nn.ModuleList(nn.Embedding(size, hidden) for size in BOND_CODES.values())
        self.rounds = nn.ModuleList(
            _convolution()(
                nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
            )
            for _ in range(layers)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.Sequential(
            nn.Linear(3 * hidden, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, dim)
        )

    def forward(self, atoms: Tensor, bonds: Tensor, ends: Tensor, sizes: Tensor) -> Tensor:
        """Return embeddings, `(batch, dim)`; for the arguments see `GineStudent.collate`."""
        state = _sum_of(self.atoms, atoms)  # (n_atoms, hidden)
        link = _sum_of(self.bonds, bonds)  # (directed bonds, hidden)
        for conv, norm in zip(self.rounds, self.norms, strict=True):
            state = state + self.dropout(torch.relu(norm(conv(state, ends, link))))
        return torch.as_tensor(self.readout(_pooled(state, sizes)))


@STUDENTS.register("gine")
class GineStudent(NetworkStudent):
    """See `contracts.Student`.

    References:
        Hu et al. 2020, "Strategies for pre-training graph neural networks", arXiv:1905.12265; Xu et al. 2019,
        "How powerful are graph neural networks?", arXiv:1810.00826.
    """

    name, settings_file, network = "gine", "gine.json", GineNetwork

    @classmethod
    def build(
        cls,
        examples: Sequence[Example],  # noqa: ARG003 - part of the contract
        generator: torch.Generator,
        *,
        dim: Width = 256,
        layers: Depth = 5,
        hidden: Width = 256,
        dropout: Below1 = 0.0,
    ) -> Self:
        """Return a student with random weights.

        Args:
            examples: Unused.
            generator: The random generator of the weights.
            dim: The width of the embeddings.
            layers: The number of message-passing layers; the paper's student has 10.
            hidden: The width of an atom's state; the paper's student has 512.
            dropout: The dropout probability of the state's updates.

        Raises:
            MissingExtraError: torch-geometric or RDKit is not installed.
        """
        settings = {"dim": dim, "layers": layers, "hidden": hidden, "dropout": dropout}
        return cls.from_settings(settings, generator)

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `contracts.Student.collate`: all molecules as one graph, and the number of atoms of each molecule.

        Raises:
            DataError: An example is not a valid SMILES.
        """
        graphs = [_graph(require_smiles(example)) for example in examples]
        sizes = np.array([len(atoms) for atoms, _, _ in graphs], dtype=np.int64)
        first = np.cumsum(sizes) - sizes
        ends = [edge + start for (_, _, edge), start in zip(graphs, first, strict=True)]
        return {
            "atoms": torch.from_numpy(_stacked([graph[0] for graph in graphs], len(ATOM_CODES))),
            "bonds": torch.from_numpy(_stacked([graph[1] for graph in graphs], len(BOND_CODES))),
            "ends": torch.from_numpy(_stacked(ends, 2).T.copy()),
            "sizes": torch.from_numpy(sizes),
        }


@cache
def _convolution() -> Any:
    """Return `GINEConv` with its own `propagate`.

    For classes without one, torch-geometric writes a Python module to the temporary folder and does not remove it.
    """
    with needs_extra("Student 'gine'", "molecules"):
        from torch_geometric.nn import GINEConv

    class Convolution(GINEConv):  # type: ignore[misc]
        def propagate(self, *args: Any, **kwargs: Any) -> Any:
            return super().propagate(*args, **kwargs)

    return Convolution


def _sum_of(tables: nn.ModuleList, codes: Tensor) -> Tensor:
    """Return the sum of one embedding per column of `codes`, `(n, columns)`: `(n, hidden)`."""
    rows = [table(codes[:, column]) for column, table in enumerate(tables)]
    return torch.stack(rows).sum(dim=0)


def _pooled(state: Tensor, sizes: Tensor) -> Tensor:
    """Return mean, sum divided by `TYPICAL_ATOMS`, and maximum of each molecule's states, `(batch, 3 * hidden)`."""
    owner = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
    zeros = state.new_zeros(len(sizes), state.shape[1])
    total = zeros.index_add(0, owner, state)
    mean = total / sizes.clamp(min=1).unsqueeze(1).to(state.dtype)
    index = owner.unsqueeze(1).expand_as(state)
    greatest = zeros.scatter_reduce(0, index, state, "amax", include_self=False)
    return torch.cat([mean, total / TYPICAL_ATOMS, greatest], dim=1)


@lru_cache(CACHED)
def _graph(smiles: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the codes of atoms, the codes of directed bonds, and the atoms of each bond, `(directed bonds, 2)`."""
    molecule: Any = read_molecule(smiles)
    atoms = _codes(molecule.GetAtoms(), ATOM_CODES)
    bonds = _codes(molecule.GetBonds(), BOND_CODES)
    return atoms, bonds.repeat(2, axis=0), directed_bonds(molecule).T


def _codes(parts: Iterable[Any], sizes: Mapping[str, int]) -> NDArray[np.int64]:
    """Return the codes of atoms or bonds, `(n, n_codes)`; a value out of bounds gets the nearest code."""
    own = {"GetChiralTag": chirality}
    rows = [
        [int(own[m](one) if m in own else getattr(one, m)()) + OFFSETS.get(m, 0) for m in sizes]
        for one in parts
    ]
    codes = np.array(rows, dtype=np.int64).reshape(-1, len(sizes))
    return codes.clip(0, np.array([*sizes.values()]) - 1)


def _stacked(parts: Sequence[NDArray[np.int64]], width: int) -> NDArray[np.int64]:
    return np.concatenate([np.empty((0, width), dtype=np.int64), *parts])
