"""Base classes and helpers of the teacher families: identity, batching, and molecular graphs."""

import logging
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from polydistill.config.nodes import Count, Width
from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.images import read_or_none, without_warnings
from polydistill.data.smiles import MAX_ATOMS, read_molecule
from polydistill.data.texts import canonical_text
from polydistill.data.weights import package_version, source_sha256
from polydistill.errors import DataError, PolydistillError, ShapeError

Identity = Mapping[str, str | int | float | bool | None]
Graph = dict[str, NDArray[Any]]
BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
"""The bond types of the one-hot codes; all other types share one further code."""

AHEAD = 2
"""The number of groups of `batch_rows` examples that are read before the model needs them, including the next."""
Ints = NDArray[np.int64]
Prepared = tuple[Ints, list[Any], Any]
"""The rows of a batch, its examples as they were read, and the input of `_run` made of them."""
OUT_OF_MEMORY = re.compile(
    r"out of memory|failed to allocate memory|can't allocate memory|bad_alloc", re.IGNORECASE
)
_log = logging.getLogger(__name__)


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
    precision = "float32"
    identified_by: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes that change the embeddings."""
    identified_if_set: ClassVar[tuple[str, ...]] = ()
    """Names of further such attributes, which the identity contains only if they are not None."""
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
            **{
                name: value
                for name in self.identified_if_set
                if (value := getattr(self, name)) is not None
            },
            **{key: commit or source_sha256(getattr(self, of)) for key, of in self.files.items()},
            **{key: package_version(package) for key, package in self.packages.items()},
        }


class ReadsExamples(NamedTeacher, ABC):
    """Embeds the examples that can be read; unreadable examples become missing rows.

    The store rejects non-finite embeddings: they are a fault of the model and not of the example.
    """

    dim: Width
    batch_rows: int
    """The number of examples that are read at once; lack of memory halves it."""
    reads_ahead: ClassVar[bool] = False
    """Whether `threads` threads read the next examples while the model runs."""

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`.

        Raises:
            ShapeError: `_run` returned a wrong shape.
            DataError: Even one example needs more memory than the device has.
        """
        values = np.zeros((len(examples), self.dim), dtype=np.float32)
        present = np.zeros(len(examples), dtype=np.bool_)
        for rows, given in self._run_all(self._prepare_all(examples)):
            if given.shape != (len(rows), self.dim):
                raise ShapeError(
                    f"Teacher {self.name!r} must give shape {(len(rows), self.dim)}, got {given.shape}."
                )
            values[rows] = given
            present[rows] = True
        return Embeddings(values, present)

    def _run_all(self, prepared: Iterator[Prepared]) -> Iterator[tuple[Ints, FloatArray]]:
        """Yield the rows and the embeddings of each batch."""
        for rows, batch, ready in prepared:
            yield rows, self._run_within_memory(batch, ready)

    def _prepare_all(self, examples: Sequence[Example]) -> Iterator[Prepared]:
        """Yield each batch of the examples."""
        for start, read in self._read_all(examples):
            found = {row: one for row, one in enumerate(read, start) if one is not None}
            rows, items = np.array(list(found), dtype=np.int64), list(found.values())
            for part in self._batches(items) if items else ():
                batch = [items[index] for index in part]
                yield rows[part], batch, self._prepare(batch)

    def _read_all(self, examples: Sequence[Example]) -> Iterator[tuple[int, Iterable[Any]]]:
        """Yield the examples that were read, `batch_rows` at a time, and the index of the first of them."""
        size = self.batch_rows
        starts = range(0, len(examples), size)
        if not self.reads_ahead:
            yield from ((at, map(self._read, examples[at : at + size])) for at in starts)
            return
        with without_warnings(), ThreadPoolExecutor(self.threads) as pool:
            ahead = deque[tuple[int, Iterable[Any]]]()
            for at in starts:
                ahead.append((at, pool.map(self._read, examples[at : at + size])))
                if len(ahead) == AHEAD:
                    yield ahead.popleft()
            yield from ahead

    def _batches(self, read: Sequence[Any]) -> Iterator[Sequence[int]]:
        """Yield the indices of the examples of each batch of the model; by default, `batch_rows` examples in order."""
        start = 0
        while start < len(read):  # lack of memory may lower `batch_rows` meanwhile
            end = min(start + self.batch_rows, len(read))
            yield range(start, end)
            start = end

    def _prepare(self, batch: list[Any]) -> Any:
        """Return the input of `_run` for examples that were read; by default, the examples."""
        return batch

    def _run_within_memory(self, batch: list[Any], ready: Any) -> FloatArray:
        """Run the model; if memory is lacking, run it on halves of the batch, and use smaller batches from then on."""
        try:
            return self._run(ready)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise DataError(
                    f"Teacher {self.name!r}: one example needs more memory than is free: {error}. Lower "
                    "`max_tokens` or `size`, or use a device with more memory."
                ) from error
        half = (len(batch) + 1) // 2
        self._use_less_memory(batch[:half])
        parts = (batch[:half], batch[half:])
        return np.concatenate(
            [self._run_within_memory(part, self._prepare(part)) for part in parts]
        )

    def _use_less_memory(self, batch: list[Any]) -> None:
        """Use batches that need no more memory than this one from now on."""
        self.batch_rows = min(self.batch_rows, len(batch))
        _log.warning(
            f"{self.name}: memory is lacking, batches have {self.batch_rows} rows from now on."
        )

    @abstractmethod
    def _read(self, example: Example) -> Any | None:
        """Return one example in the form that `_prepare` expects, or None if the example cannot be read."""

    @abstractmethod
    def _run(self, batch: Any) -> FloatArray:
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
    reads_ahead = True

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


@contextmanager
def reading(what: object) -> Iterator[None]:
    """Raise `DataError` with the name of the file or folder `what` instead of an error of a library that reads it."""
    try:
        yield
    except PolydistillError:
        raise
    except Exception as error:  # damaged files raise many types
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        raise DataError(f"{what} cannot be read: {reason}.") from error


def require_safetensors(folder: Path) -> None:
    """Refuse weights that are only in a pickle.

    Raises:
        DataError: A folder below `folder` has weights in a pickle, and none in safetensors.
    """
    for pickle in folder.rglob("pytorch_model*.bin"):
        if not any(pickle.parent.glob("*.safetensors")):
            raise DataError(
                f"{pickle} is a pickle, which could run code and is not loaded: save the model as safetensors "
                "with `save_pretrained`."
            )


def is_out_of_memory(error: Exception) -> bool:
    """Return whether memory of a device or of the machine is lacking; each library has an error of its own."""
    return isinstance(error, MemoryError) or bool(OUT_OF_MEMORY.search(str(error)))


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
