"""Classes that the teacher families extend: identity, batches of examples, ONNX Runtime, molecular graphs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.images import read_or_none
from polydistill.data.smiles import MAX_ATOMS, read_molecule
from polydistill.data.weights import locate, package_version, source_sha256
from polydistill.errors import ShapeError, needs_extra

Identity = Mapping[str, str | int | float | bool | None]
Graph = dict[str, NDArray[Any]]
BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
"""The types of bonds; any other type has a code of its own."""
FATAL_AND_ERRORS = 3  # of ONNX Runtime's log levels


@dataclass(eq=False)
class NamedTeacher:
    """A teacher whose options are the keyword-only fields of its class.

    Attributes:
        name: The teacher's name in the settings.
        threads: Number of threads that its library may use.
    """

    family: ClassVar[str]
    version: ClassVar[int] = 1  # increase it when a change of the class changes embeddings
    by_id: ClassVar[bool] = False
    precision: ClassVar[str] = "float32"
    identified_by: ClassVar[tuple[str, ...]] = ()
    """Attributes that change the embeddings."""
    files: ClassVar[Mapping[str, str]] = {}
    """Attributes that name a file or folder that changes the embeddings, by their keys in the identity."""
    packages: ClassVar[Mapping[str, str]] = {}
    """Distributions whose code computes the embeddings, by the keys of their versions in the identity."""

    name: str
    threads: int

    @property
    def identity(self) -> Identity:
        """See `contracts.Teacher.identity`; the commit of a hub model identifies its files."""
        commit = getattr(self, "revision", None)
        return {
            "family": self.family,
            "version": self.version,
            **{name: getattr(self, name) for name in self.identified_by},
            **{key: commit or source_sha256(getattr(self, of)) for key, of in self.files.items()},
            **{key: package_version(package) for key, package in self.packages.items()},
        }


class ReadsExamples(NamedTeacher):
    """Embeds the examples that can be read; unreadable ones and non-finite results become missing rows."""

    dim: int
    batch_rows: ClassVar[int]
    may_lack_rows: ClassVar[bool] = True

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`.

        Raises:
            ShapeError: `_run` returned a wrong shape.
        """
        values = np.zeros((len(examples), self.dim), dtype=np.float32)
        present = np.zeros(len(examples), dtype=np.bool_)
        for start in range(0, len(examples), self.batch_rows):
            found = enumerate(map(self._read, examples[start : start + self.batch_rows]), start)
            batch = {row: one for row, one in found if one is not None}
            if not batch:
                continue
            rows, given = list(batch), self._run(list(batch.values()))
            if given.shape != (len(rows), self.dim):
                raise ShapeError(
                    f"Teacher {self.name!r} must give shape {(len(rows), self.dim)}, got {given.shape}."
                )
            values[rows] = given
            present[rows] = np.isfinite(given).all(axis=1) if self.may_lack_rows else True
        values[~present] = 0.0
        return Embeddings(values, present)

    def _read(self, example: Example) -> Any | None:
        """Return one example as `_run` takes it, or None if it cannot be read."""
        raise NotImplementedError

    def _run(self, batch: list[Any]) -> FloatArray:
        """Return the embeddings of a non-empty batch, `(batch, dim)`."""
        raise NotImplementedError


class ReadsTexts(ReadsExamples):
    """Passes texts to `_run`, each with the prompt before it; the store refuses a non-finite embedding."""

    batch_rows = 32
    may_lack_rows = False
    prompt: str = ""

    def _read(self, example: Example) -> str:
        return self.prompt + str(example)


class ReadsImages(ReadsExamples):
    """Passes RGB Pillow images to `_run`; a damaged or too large image gives a missing row."""

    batch_rows = 16

    def _read(self, example: Example) -> Any | None:
        return read_or_none(example)


class ReadsMolecules(ReadsExamples):
    """Passes RDKit molecules to `_run`; an invalid SMILES or too large a molecule gives a missing row.

    A molecule is too large if it has more than `max_atoms` atoms, without hydrogens.
    """

    batch_rows = 64
    packages: ClassVar = {"rdkit": "rdkit"}
    max_atoms: int = MAX_ATOMS

    def _read(self, example: Example) -> Any | None:
        molecule = read_molecule(example)
        fits = molecule is not None and molecule.GetNumAtoms() <= self.max_atoms
        return molecule if fits else None


class RunsOnnx(NamedTeacher):
    """Runs the ONNX file `model` with `threads` threads; `extra` is the pip extra that installs ONNX Runtime."""

    files: ClassVar = {"weights": "model"}
    extra: ClassVar[str]
    model: str

    @cached_property
    def _session(self) -> Any:
        with needs_extra(f"Teacher {self.name!r}", self.extra):
            import onnxruntime as ort
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = FATAL_AND_ERRORS
        # Waiting threads sleep instead of spinning, so that other processes get the cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return ort.InferenceSession(self._graph(), options, providers=["CPUExecutionProvider"])

    def _graph(self) -> str | bytes:
        """Return the path of the graph, or the serialised graph."""
        return str(locate(self.model))


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
