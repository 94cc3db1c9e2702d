"""Directed message passing networks from chemprop checkpoints, run by torch without chemprop."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from polydistill.config.nodes import Count, Width
from polydistill.contracts import FloatArray
from polydistill.data.smiles import MAX_ATOMS, chirality, directed_bonds
from polydistill.data.weights import locate, source_sha256
from polydistill.errors import DataError
from polydistill.teachers import TEACHERS, _readers
from polydistill.teachers._devices import RunsOnDevice

ELEMENTS = (*range(1, 37), 53)
CHARGES = (-1, -2, 1, 2, 0)
HYBRIDISATIONS = ("S", "SP", "SP2", "SP2D", "SP3", "SP3D", "SP3D2")
LAYERS = ("W_i.weight", "W_h.weight", "W_o.weight", "W_o.bias")


@TEACHERS.register("dmpnn")
@dataclass(eq=False, kw_only=True)
class DmpnnTeacher(_readers.ReadsMolecules, RunsOnDevice):
    """The concatenated molecule vectors of one or more chemprop networks.

    A checkpoint is a pickle file, which is read by `torch.load(weights_only=True)`. A placeholder replaces the classes
    that its hyperparameters name. Therefore chemprop is not imported, and no code from the file runs.

    Attributes:
        checkpoints: Checkpoint files of chemprop 2; see `weights.locate`.
        dim: Width of the embeddings, the sum of the networks' widths.
        max_atoms: The maximum number of atoms; a larger molecule gets a missing row.
        device: Where the networks run; see `device.device_for`.

    References:
        Yang et al. 2019, "Analyzing learned molecular representations for property prediction",
        doi:10.1021/acs.jcim.9b00237; the features are those of chemprop 2.3.1's
        `SimpleMoleculeMolGraphFeaturizer`.
    """

    family = "dmpnn"
    identified_by = ("max_atoms", "precision")

    checkpoints: Sequence[str]
    dim: Width
    max_atoms: Count = MAX_ATOMS

    @property
    def identity(self) -> _readers.Identity:
        """See `contracts.Teacher.identity`."""
        weights = "".join(source_sha256(one) for one in self.checkpoints)
        return {**super().identity, "weights": hashlib.sha256(weights.encode()).hexdigest()}

    @cached_property
    def _networks(self) -> list[Network]:
        networks = []
        for one in self.checkpoints:
            with _readers.reading(f"Teacher {self.name!r}: {one}"):
                networks.append(read_checkpoint(str(locate(one)), self.runs_on))
        return networks

    @property
    def n_parameters(self) -> int:
        """Number of parameters of the message passing; the checkpoints' predictors are not used."""
        return sum(one.numel() for network in self._networks for one in network.weights.values())

    @torch.inference_mode()
    def _run(self, batch: list[Any]) -> FloatArray:
        torch.set_num_threads(self.threads)
        combined = _readers.batch_graphs([graph_of(molecule) for molecule in batch], "atoms")
        graph = {name: torch.from_numpy(rows).to(self.runs_on) for name, rows in combined.items()}
        vectors = [molecule_vectors(network, graph, len(batch)) for network in self._networks]
        return np.asarray(torch.cat(vectors, dim=1).cpu())


class Network(NamedTuple):
    """The message passing of one network.

    Attributes:
        weights: Weights by their names in the checkpoint: `W_i`, `(dim, atoms + bonds)`; `W_h`, `(dim, dim)`; `W_o`,
            `(dim, atoms + dim)`, and the bias of `W_o`. `atoms` and `bonds` are numbers of features.
        depth: Number of message passing steps; the first step uses only the features.
        norm: Number by which the sum over atoms is divided.
    """

    weights: Mapping[str, Tensor]
    depth: int
    norm: float


def molecule_vectors(network: Network, graph: Mapping[str, Tensor], n_molecules: int) -> Tensor:
    """Return the vector of each molecule, `(n_molecules, dim)`.

    Args:
        network: The network.
        graph: All molecules as one graph; see `graph_of` and `batch_graphs`.
        n_molecules: The number of molecules.
    """
    atoms, (start, end), weights = graph["atoms"], graph["edge_index"], network.weights
    first = torch.cat([atoms[start], graph["bonds"]], dim=1) @ weights["W_i.weight"].T
    hidden = torch.relu(first)  # (directed bonds, dim)
    back = torch.arange(len(hidden), device=hidden.device).reshape(-1, 2).flip(1).reshape(-1)
    for _ in range(1, network.depth):
        arriving = _sum_by(end, hidden, len(atoms))
        message = arriving[start] - hidden[back]
        hidden = torch.relu(first + message @ weights["W_h.weight"].T)
    seen = torch.cat([atoms, _sum_by(end, hidden, len(atoms))], dim=1)
    by_atom = torch.relu(seen @ weights["W_o.weight"].T + weights["W_o.bias"])
    return _sum_by(graph["batch"], by_atom, n_molecules) / network.norm


def read_checkpoint(path: str, device: str = "cpu") -> Network:
    """Return the message passing of a chemprop checkpoint.

    Raises:
        DataError: The file is not a chemprop checkpoint, or its network is not supported.
    """
    named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    stand_ins: list[Any] = [
        (OrderedDict if one.endswith("Dict") else _Unread, one) for one in named
    ]
    with torch.serialization.safe_globals(stand_ins):
        content = torch.load(path, weights_only=True, map_location=device)
    state, settings = content["state_dict"], content["hyper_parameters"]
    passing = settings["message_passing"]
    odd = [key for key in ("bias", "undirected", "d_vd", "V_d_transform") if passing[key]]
    missing = [name for name in LAYERS if f"message_passing.{name}" not in state]
    if odd or missing or settings["batch_norm"] or "norm" not in settings["agg"]:
        raise DataError(
            f"{path} must be a chemprop network of directed bonds with norm aggregation, without biases, "
            f"descriptors or batch norm, got {', '.join([*odd, *missing]) or 'another network'}."
        )
    weights = {name: state[f"message_passing.{name}"] for name in LAYERS}
    return Network(weights, int(passing["depth"]), float(settings["agg"]["norm"]))


class _Unread:
    """Placeholder for the classes in the hyperparameters of a checkpoint; it ignores its arguments and state."""

    def __init__(self, *_: object, **__: object) -> None:
        """Accept and ignore any arguments."""

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""


def graph_of(molecule: Any) -> _readers.Graph:
    """Return the features of a molecule's atoms and directed bonds.

    Returns:
        `atoms`, `(n, 72)`; `bonds`, `(m, 14)`; and `edge_index`, `(2, m)`, the two atoms of each directed bond. The two
        directions of a bond are adjacent.
    """
    bonds = [_bond_features(bond) for bond in molecule.GetBonds()]
    return {
        "atoms": np.array([_atom_features(atom) for atom in molecule.GetAtoms()]),
        "bonds": np.array(bonds).reshape(-1, 14).repeat(2, axis=0),
        "edge_index": directed_bonds(molecule),
    }


def _atom_features(atom: Any) -> list[float]:
    return [
        *_readers.one_hot(atom.GetAtomicNum(), ELEMENTS),
        *_readers.one_hot(atom.GetTotalDegree(), range(6)),
        *_readers.one_hot(atom.GetFormalCharge(), CHARGES),
        *_readers.one_hot(chirality(atom), range(4)),
        *_readers.one_hot(atom.GetTotalNumHs(), range(5)),
        *_readers.one_hot(str(atom.GetHybridization()), HYBRIDISATIONS),
        float(atom.GetIsAromatic()),
        0.01 * atom.GetMass(),
    ]


def _bond_features(bond: Any) -> list[float]:
    return [
        0.0,  # chemprop's flag for a missing bond
        *_readers.one_hot(str(bond.GetBondType()), _readers.BONDS)[:-1],
        float(bond.GetIsConjugated()),
        float(bond.IsInRing()),
        *_readers.one_hot(int(bond.GetStereo()), range(6)),
    ]


def _sum_by(groups: Tensor, rows: Tensor, n: int) -> Tensor:
    """Return the sum of the rows of each group, `(n, dim)`."""
    return rows.new_zeros(n, rows.shape[1]).index_add_(0, groups, rows)
