"""Base classes and helpers of the teacher families: identity, batching, ONNX Runtime and molecular graphs."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from polydistill.config.nodes import Count, Width
from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.images import read_or_none
from polydistill.data.smiles import MAX_ATOMS, read_molecule
from polydistill.data.texts import canonical_text
from polydistill.data.weights import locate, package_version, source_sha256
from polydistill.errors import DataError, PolydistillError, ShapeError, needs_extra

Identity = Mapping[str, str | int | float | bool | None]
Graph = dict[str, NDArray[Any]]
BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
"""The bond types of the one-hot codes; all other types share one further code."""
NUMBERS = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
"""NumPy's types of the inputs of an ONNX graph, by ONNX Runtime's names."""
FATAL_AND_ERRORS = 3  # a log level of ONNX Runtime


@dataclass(eq=False)
class NamedTeacher:
    """A teacher whose options are the keyword-only fields of its class.

    Attributes:
        name: The teacher's name in the settings.
        threads: Number of threads that the teacher's library may use.
    """

    family: ClassVar[str]
    version: ClassVar[int] = 1  # increase the version when a change of the class changes embeddings
    by_id: ClassVar[bool] = False
    precision: ClassVar[str] = "float32"
    identified_by: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes that change the embeddings."""
    files: ClassVar[Mapping[str, str]] = {}
    """Names of the attributes whose files or folders change the embeddings, by their keys in the identity."""
    packages: ClassVar[Mapping[str, str]] = {}
    """Names of the distributions that compute the embeddings, by the keys of their versions in the identity."""

    name: str
    threads: int

    @property
    def identity(self) -> Identity:
        """See `contracts.Teacher.identity`; the files of a hub model are identified by its commit."""
        commit = getattr(self, "revision", None)
        return {
            "family": self.family,
            "version": self.version,
            **{name: getattr(self, name) for name in self.identified_by},
            **{key: commit or source_sha256(getattr(self, of)) for key, of in self.files.items()},
            **{key: package_version(package) for key, package in self.packages.items()},
        }


class ReadsExamples(NamedTeacher, ABC):
    """Embeds the examples that can be read; unreadable examples become missing rows.

    The store rejects non-finite embeddings: they are a fault of the model and not of the example.
    """

    dim: Width
    batch_rows: ClassVar[int]

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
            present[rows] = True
        return Embeddings(values, present)

    @abstractmethod
    def _read(self, example: Example) -> Any | None:
        """Return one example in the form that `_run` expects, or None if the example cannot be read."""

    @abstractmethod
    def _run(self, batch: list[Any]) -> FloatArray:
        """Return the embeddings of a non-empty batch, `(batch, dim)`."""


class ReadsTexts(ReadsExamples):
    """Prepends the prompt to each text and passes the texts to `_run`."""

    batch_rows = 32
    prompt: str = ""

    def _read(self, example: Example) -> str:
        return self.prompt + canonical_text(example)


class ReadsImages(ReadsExamples):
    """Passes RGB Pillow images to `_run`; an image that is damaged or too large gets a missing row."""

    batch_rows = 16

    def _read(self, example: Example) -> Any | None:
        return read_or_none(example)


class ReadsMolecules(ReadsExamples):
    """Passes RDKit molecules to `_run`; an invalid SMILES or a molecule that is too large gets a missing row.

    A molecule is too large if it has more than `max_atoms` atoms, not counting hydrogens.
    """

    batch_rows, version = 64, 2
    packages: ClassVar = {"rdkit": "rdkit"}
    max_atoms: Count = MAX_ATOMS

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
        with reading(f"Teacher {self.name!r}: {self.model}"):
            return ort.InferenceSession(self._graph(), options, providers=["CPUExecutionProvider"])

    def _graph(self) -> str | bytes:
        """Return the path of the graph, or the serialised graph."""
        return str(locate(self.model))

    def _require_shape(self, name: str, shape: Sequence[int], hint: str = "") -> None:
        """Check the shape of an input, except for the batch, against the shape that the graph states.

        Raises:
            ShapeError: A fixed axis of the graph has another length.
        """
        stated = next(one.shape for one in self._session.get_inputs() if one.name == name)
        pairs = list(zip(stated[1:], shape[1:], strict=False))
        if len(stated) not in (0, len(shape)) or any(
            isinstance(fixed, int) and fixed != length for fixed, length in pairs
        ):
            wanted = ", ".join(map(str, ["batch", *stated[1:]]))
            got = ", ".join(map(str, ["batch", *shape[1:]]))
            raise ShapeError(
                f"Teacher {self.name!r}: input {name!r} of {self.model} must have shape ({wanted}), "
                f"got ({got}).{hint}"
            )

    def _answer(self, feed: Mapping[str, NDArray[Any]], output: str) -> FloatArray:
        """Return an output of the graph, float32, for inputs with one row per example.

        Inputs are cast to the graph's types. A graph with a fixed batch size gets pieces of that size; the last row
        fills the last piece.

        Raises:
            DataError: ONNX Runtime cannot run the graph.
        """
        taken = {one.name: one for one in self._session.get_inputs()}
        n_rows = len(next(iter(feed.values())))
        fixed = (one.shape[0] for one in taken.values() if one.shape)
        size = next((one for one in fixed if isinstance(one, int)), n_rows)
        answers = []
        for start in range(0, n_rows, size):
            rows = np.arange(start, start + size).clip(max=n_rows - 1)
            piece = {k: v[rows].astype(NUMBERS[taken[k].type]) for k, v in feed.items()}
            with reading(f"Teacher {self.name!r}: {self.model}"):
                answers.append(self._session.run([output], piece)[0])
        return np.concatenate(answers)[:n_rows].astype(np.float32)


@contextmanager
def reading(what: object) -> Iterator[None]:
    """Raise `DataError` with the name of the file or folder `what` instead of an error of a library that reads it."""
    try:
        yield
    except PolydistillError:
        raise
    except Exception as error:  # damaged files raise many types
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        raise DataError(f"{what} cannot be read: {reason}.") from error


def one_hot(value: object, choices: Sequence[object]) -> list[float]:
    """Return `len(choices) + 1` numbers: a one at the value's index, or at the last index for any other value."""
    row = [0.0] * (len(choices) + 1)
    row[choices.index(value) if value in choices else -1] = 1.0
    return row


def batch_graphs(graphs: Sequence[Graph], atoms: str) -> Graph:
    """Combine graphs into one graph; its array `batch` holds the graph index of each atom.

    Args:
        graphs: One graph per molecule: arrays of atoms and bonds by name, and `edge_index`, `(2, directed bonds)`.
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
