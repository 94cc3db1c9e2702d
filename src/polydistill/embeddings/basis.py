"""Embeddings in fewer dimensions: an orthonormal basis of the directions in which a teacher's embeddings vary."""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from polydistill.contracts import FloatArray
from polydistill.embeddings.fidelity import cosines

BASIS, FACTS = "basis.safetensors", "facts"
ARRAYS = ("components", "lost")
TINY = 1e-9
"""A share of the variance that is no more than rounding."""


@dataclass(frozen=True, eq=False)
class Basis:
    """The principal directions of a teacher's embeddings. The mean is not subtracted, so dot products are kept.

    Attributes:
        components: The directions, `(dim, teacher_dim)`, float32; rows are orthonormal.
        lost: The mean square of what is left out in each of the teacher's dimensions, `(teacher_dim,)`.
        key: The hash of the rows, the teacher and the variance that the basis was fitted to.
        kept: The share of the sum of squares that is kept of the rows that the basis was fitted to.
        cosine_error: The mean absolute change of the cosine similarity of two of these rows.
    """

    components: FloatArray
    lost: FloatArray
    key: str
    kept: float
    cosine_error: float

    @property
    def dim(self) -> int:
        """The number of dimensions that are kept."""
        return len(self.components)

    @property
    def sha256(self) -> str:
        """The sha256 of the arrays; stored embeddings depend on the directions."""
        return hashlib.sha256(self.components.tobytes() + self.lost.tobytes()).hexdigest()

    def reduce(self, values: FloatArray) -> FloatArray:
        """Return embeddings in the basis: `(n, teacher_dim)` to `(n, dim)`."""
        with np.errstate(over="ignore", invalid="ignore"):  # the caller checks for them
            return values @ self.components.T

    def to_bytes(self) -> bytes:
        """Return the content of `basis.safetensors`."""
        facts = {**vars(self), "sha256": self.sha256}
        arrays = {name: np.ascontiguousarray(facts.pop(name)) for name in ARRAYS}
        return bytes(
            save(arrays, {FACTS: json.dumps(facts)})
        )  # several entries would change places

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return the basis in a file; None if the file is missing or damaged."""
        with suppress(OSError, SafetensorError, KeyError, ValueError, TypeError):
            with safe_open(path, "np") as file:
                facts = json.loads(file.metadata()[FACTS])
                sha256, arrays = facts.pop("sha256"), map(file.get_tensor, ARRAYS)
                found = cls(*arrays, **facts)
            if found.sha256 == sha256:
                return found
        return None


def principal_directions(values: FloatArray, variance: float) -> FloatArray:
    """Return the fewest directions, `(dim, teacher_dim)`, that keep a share of the sum of squares of `values`.

    They are the eigenvectors of the second moment with the largest eigenvalues. The largest entry of each is positive.

    Args:
        values: Embeddings, `(n, teacher_dim)`; not all may be zero.
        variance: The share to keep, above 0 and at most 1.

    Examples:
        >>> values = np.array([[3, 0, 0], [0, -4, 0], [0, 0, 0.1]], dtype=np.float32)
        >>> principal_directions(values, 0.99).tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    wide = values.astype(np.float64)
    squares, vectors = np.linalg.eigh(wide.T @ wide)
    squares, vectors = np.maximum(squares[::-1], 0), vectors[:, ::-1].T
    shares = np.cumsum(squares) / squares.sum()
    components = vectors[: int((shares >= variance - TINY).argmax()) + 1]
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(len(components)), largest])
    return np.asarray(components * signs[:, None], dtype=np.float32)


def left_out(values: FloatArray, components: FloatArray) -> FloatArray:
    """Return the mean square of what a basis leaves out of embeddings `(n, teacher_dim)`: see `Basis.lost`."""
    rest = values.astype(np.float64) - values @ components.T @ components
    return np.asarray(np.square(rest).mean(axis=0), dtype=np.float32)


def measured_loss(values: FloatArray, components: FloatArray) -> tuple[float, float]:
    """Return what a basis keeps of embeddings `(n, teacher_dim)`: see `Basis.kept` and `Basis.cosine_error`."""
    reduced = values @ components.T
    total = float(np.square(values, dtype=np.float64).sum())
    kept = float(np.square(reduced, dtype=np.float64).sum()) / total if total else 1.0
    errors: NDArray[np.float32] = np.abs(
        cosines(values[1:], values[:-1]) - cosines(reduced[1:], reduced[:-1])
    )
    errors = errors[np.isfinite(errors)]
    return round(kept, 6), round(float(errors.mean()) if len(errors) else 0.0, 6)
