"""Builds teachers from a Python caller's arguments: hub names, folders, ONNX files, tables, objects with `encode`."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from polydistill.config.nodes import safe_name, teacher_name
from polydistill.config.params import known_teachers
from polydistill.contracts import Embeddings, Example, FloatArray, Teacher
from polydistill.data.weights import PACKAGE, snapshot
from polydistill.errors import DataError, ParamsError, ShapeError
from polydistill.teachers import build_teacher

FAMILIES = {
    ("onnx", True): {"family": "onnx-image"},
    ("onnx", False): {"family": "onnx", "pooling": "auto"},
    ("folder", True): {"family": "transformers-image"},
    ("folder", False): {"family": "sentence-transformers", "pooling": "own"},
}
"""The teacher family and its options, by the kind of model (file or folder) and whether the model embeds images."""
NOT_OPTIONS = ("family", "licence", "saw_labels_of", "enabled")
PROBES = 8
"""The number of inputs whose embeddings identify an encoder without an `identity`."""


@runtime_checkable
class Encoder(Protocol):
    """An object that embeds a list of examples, such as a `SentenceTransformer`, a client of a service, a student."""

    def encode(self, examples: list[Any], /) -> ArrayLike:
        """Return `(n_examples, dim)`, one row per example, in order."""


class Precomputed:
    """A teacher whose embeddings are already computed: one row per example, in the order of the examples.

    Args:
        embeddings: `(n_examples, dim)`. A row with NaN is a missing embedding.
        name: The teacher's name in reports.
        ids: The content id of each row, `(n_examples,)`; `polydistill.distill` computes them. If two rows have equal
            ids, the first row is used.

    Raises:
        ShapeError: The array is not two-dimensional, or is empty.
        DataError: Every row contains NaN, or a value is infinite or not a number.

    Examples:
        >>> Precomputed(np.eye(3), name="one-hot").dim
        3
    """

    by_id = True

    def __init__(
        self, embeddings: ArrayLike, name: str = "precomputed", ids: Sequence[str] = ()
    ) -> None:
        try:
            values = np.asarray(embeddings, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"Precomputed {name!r}: embeddings must be numbers: {error}."
            ) from error
        if values.ndim != 2 or 0 in values.shape:
            raise ShapeError(
                f"Precomputed {name!r}: embeddings must have shape (n_examples, dim), got {values.shape}."
            )
        if np.isinf(values).any():
            raise DataError(f"Precomputed {name!r}: embeddings must be finite, got infinity.")
        self._present = np.asarray(~np.isnan(values).any(axis=1), dtype=np.bool_)
        if not self._present.any():
            raise DataError(
                f"Precomputed {name!r}: every row holds NaN; at least one must be complete."
            )
        self._values: FloatArray = np.where(self._present[:, None], values, np.float32(0))
        self._rows: dict[str, int] = {}
        for row, content_id in enumerate(ids):
            self._rows.setdefault(content_id, row)
        self.name, self.dim = name, int(values.shape[1])

    def aligned(self, ids: Sequence[str]) -> "Precomputed":
        """Return a copy of this table whose rows have these content ids, `(n_examples,)`.

        Raises:
            ShapeError: The number of ids differs from the number of rows.
        """
        if len(ids) != len(self._values):
            raise ShapeError(
                f"Precomputed {self.name!r} must have one row per example, {len(ids)}, got {len(self._values)}."
            )
        complete = np.where(self._present[:, None], self._values, np.float32(np.nan))
        return Precomputed(complete, self.name, ids)

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`: the sha256 of the table."""
        digest = hashlib.sha256(self._values.tobytes() + self._present.tobytes()).hexdigest()
        return {"family": "precomputed", "version": 1, "weights": digest}

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`; the examples are content ids, and an unknown id has no embedding."""
        rows = np.array([self._rows.get(str(name), -1) for name in examples], dtype=np.int64)
        present = (rows >= 0) & self._present[rows]
        return Embeddings(np.where(present[:, None], self._values[rows], np.float32(0)), present)


class EncoderTeacher:
    """A teacher that calls an object's `encode`.

    Its identity is the hash of its embeddings of a few inputs. Therefore stored embeddings are reused only as long
    as the object returns the same embeddings.

    Args:
        encoder: The object that embeds examples; see `Encoder`.
        name: The teacher's name in reports.
        probes: Examples whose embeddings identify the object; at least one.
    """

    by_id = False

    def __init__(self, encoder: Encoder, name: str, probes: Sequence[Example]) -> None:
        self._encoder, self.name = encoder, name
        embeddings = self._encode(list(probes[:PROBES]))
        self.dim = embeddings.shape[1]
        digest = hashlib.sha256(embeddings.tobytes()).hexdigest()
        self.identity: Mapping[str, str | int | float | bool | None]
        self.identity = {"family": "encoder", "version": 1, "weights": digest}

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        if not examples:
            return Embeddings(np.zeros((0, self.dim), np.float32), np.zeros(0, np.bool_))
        return Embeddings(self._encode(list(examples)), np.ones(len(examples), dtype=np.bool_))

    def _encode(self, examples: list[Example]) -> FloatArray:
        found = self._encoder.encode(examples)
        try:
            with warnings.catch_warnings(action="error", category=np.exceptions.ComplexWarning):
                values = np.asarray(found, dtype=np.float32)
        except (TypeError, ValueError, np.exceptions.ComplexWarning) as error:
            raise ShapeError(
                f"Teacher {self.name!r}: encode() must return real numbers of shape (n, dim), got "
                f"{type(found).__name__}: {error}."
            ) from error
        if values.ndim != 2 or len(values) != len(examples) or not values.shape[1]:
            raise ShapeError(
                f"Teacher {self.name!r}: encode() of {len(examples)} examples must return shape "
                f"({len(examples)}, dim), got {values.shape}."
            )
        return values


Machine = tuple[int, str]
"""The number of threads, and the device."""
TeacherSpec = str | Path | Mapping[str, Any] | Precomputed | Encoder | Teacher


def build_teachers(
    specs: Sequence[TeacherSpec] | TeacherSpec,
    modality: str,
    threads: int,
    probes: Sequence[Example],
    device: str = "auto",
) -> dict[str, Teacher]:
    """Return the teachers by name. A number is appended to a name that already occurs.

    No weights are loaded, with one exception: an object without an identity embeds `probes`.

    Args:
        specs: One or several specifications; see `TeacherSpec` and `polydistill.distill`.
        modality: The modality of the examples; the names of its known teachers are valid specifications.
        threads: The number of threads of each teacher that polydistill runs itself.
        probes: Examples whose embeddings identify an object with `encode`.
        device: The device of each teacher that polydistill runs itself; see `device.device_for`.

    Raises:
        ParamsError: `specs` is empty, a specification has an unknown type, or a name is not safe.
        UnknownNameError: A family or an option is unknown.
    """
    several = isinstance(specs, Sequence) and not isinstance(specs, str)
    listed = list(specs) if several else [specs]  # type: ignore[arg-type]
    if not listed:
        raise ParamsError("`teachers` must name at least one teacher, got none.")
    built: dict[str, Teacher] = {}
    for spec in listed:
        teacher = _build(spec, modality, (threads, device), probes)
        name, n_equal = teacher_name(teacher.name, also="."), 2
        while teacher.name in built:
            teacher.name, n_equal = f"{name}-{n_equal}", n_equal + 1
        built[teacher.name] = teacher
    return built


def _build(spec: object, modality: str, machine: Machine, probes: Sequence[Example]) -> Teacher:
    if isinstance(spec, Precomputed):
        return spec
    if isinstance(spec, Mapping):
        return _of_family(spec.get("name", spec.get("family")), spec, machine)
    if isinstance(spec, str | Path):
        if not str(spec):
            raise ParamsError("The name or path of a teacher must not be empty.")
        return _named(str(spec), modality, machine)
    if hasattr(spec, "embed") and hasattr(spec, "identity"):
        return cast("Teacher", spec)
    if isinstance(spec, Encoder):
        name = getattr(spec, "name", None) or type(spec).__name__
        return EncoderTeacher(spec, safe_name(str(name)), probes)
    raise ParamsError(
        "A teacher must be a hub name, a folder, an .onnx file, a known teacher's name, a mapping with `family`, "
        f"a Precomputed or an object with encode(list), got {type(spec).__name__}."
    )


def _named(spec: str, modality: str, machine: Machine) -> Teacher:
    known = known_teachers(modality)
    if spec in known:
        return _of_family(spec, known[spec], machine)
    name = safe_name(Path(spec).name.removesuffix(".onnx"))
    kind = "onnx" if spec.endswith(".onnx") else "folder"
    row = {**FAMILIES[kind, modality == "vision"], "model": spec}
    if kind == "folder" and not spec.startswith(PACKAGE) and not Path(spec).exists():
        row["revision"] = snapshot(spec).name  # the model is on the hub
    return _of_family(name, row, machine)


def _of_family(name: object, row: Mapping[str, Any], machine: Machine) -> Teacher:
    if "family" not in row:
        raise ParamsError(
            f"Teacher {name!r} must name its `family`, got {', '.join(row) or 'nothing'}."
        )
    name = teacher_name(name, also=".")
    options = {key: value for key, value in row.items() if key not in (*NOT_OPTIONS, "name")}
    return build_teacher(name, str(row["family"]), options, *machine)
