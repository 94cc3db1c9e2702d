"""The public class `Student`: encode, compare, save, and predict teacher embeddings."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from rich.progress import track

from polydistill import contracts
from polydistill.config.device import device_for
from polydistill.contracts import Example, FloatArray, Modality
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import as_examples
from polydistill.errors import DataError, MissingDataError, ParamsError, ShapeError, short
from polydistill.export.onnx import OnnxReport, save_onnx
from polydistill.export.predicted_embeddings import PredictedEmbedding, TeacherPredictor
from polydistill.project.files import copy_folder, put_in_place, write_atomic, written_to
from polydistill.students import CARD, encode, load_student, read_student_card, unit_length

STUDENT, HEADS, MODALITY = "student", "heads", "modality"


class PredictedTeacher:
    """One teacher, whose embeddings are predicted from the student's. `Student.teacher` returns an instance."""

    def __init__(self, student: Student, predictor: TeacherPredictor, name: str) -> None:
        predictor.require(name)
        self.name = name
        self._student, self._predictor = student, predictor

    def predict(self, examples: Iterable[object]) -> PredictedEmbedding:
        """Return the predicted embedding and its calibrated standard deviation for each example.

        Raises:
            DataError: An example cannot be read.
        """
        return self._predictor.predict(self._student.encode(examples), self.name)

    def encode(self, examples: Iterable[object]) -> FloatArray:
        """Return the predicted embeddings alone, `(n_examples, teacher_dim)`."""
        return self.predict(examples).mean


class Student:
    """A distilled student. `polydistill.distill` trains one and `polydistill.load` loads one.

    Args:
        folder: The folder of a student's bundle.
        modality: The kind of the student's examples: `text`, `vision` or `molecules`.
        heads: The folder of the heads that were trained with the student. None: `heads` in `folder`, if it exists.
        device: Where the student runs; see `load`.

    Raises:
        MissingDataError: The folder holds no student.
        DataError: A file is damaged.

    Examples:
        >>> import tempfile
        >>> import polydistill
        >>> texts = [f"the {a} {b}" for a in ("red", "blue", "old") for b in ("car", "boat", "house", "tree")]
        >>> folder = tempfile.TemporaryDirectory()
        >>> student = polydistill.distill(
        ...     texts, {"family": "hashing", "dim": 8}, "bag-of-bytes", held_out=0.3, cache=folder.name, progress=False
        ... )
        >>> student
        Student(modality='text', dim=32, teachers=['hashing'])
        >>> embeddings = student.encode(texts, normalize=True, truncate_dim=16)
        >>> student.similarity(embeddings[:2], embeddings).shape
        (2, 12)
        >>> student.teacher("hashing").predict(texts).std.shape
        (12, 8)
        >>> again = polydistill.load(student.save(f"{folder.name}/my-student"))
        >>> bool((again.encode(texts) == student.encode(texts)).all())
        True
        >>> folder.cleanup()
    """

    def __init__(
        self, folder: Path, modality: str, heads: Path | None = None, device: str = "auto"
    ) -> None:
        self._folder, self.modality = folder, modality
        self._heads = heads or folder / HEADS
        self._kind: Modality = MODALITIES.get(modality)()
        self._student: contracts.Student = load_student(folder, device_for(device))
        self.dim = self._student.dim
        self.sources: tuple[contracts.Teacher, ...] = ()
        """The teachers that `polydistill.distill` used; empty when the student was loaded."""

    def __repr__(self) -> str:
        teachers = list(self.teachers)
        return f"Student(modality={self.modality!r}, dim={self.dim}, teachers={teachers})"

    @property
    def teachers(self) -> tuple[str, ...]:
        """Names of the teachers that `teacher` can predict; empty without heads."""
        return self._predictor.teachers if self._has_heads else ()

    def encode(
        self,
        examples: Iterable[object] | Path,
        *,
        normalize: bool = False,
        batch_size: int = 256,
        truncate_dim: int | None = None,
        progress: bool = False,
    ) -> FloatArray:
        """Embed examples, in order.

        Args:
            examples: A list or column of texts, SMILES or images; a single string, path or bytes is one example.
            normalize: Whether to scale each row to unit length.
            batch_size: Number of examples per batch.
            truncate_dim: Number of leading dimensions to keep. None: all.
            progress: Whether to show a progress bar.

        Returns:
            `(n_examples, dim)`, float32; `(dim,)` for a single example.

        Raises:
            DataError: An example cannot be read. The message identifies the example.
            ParamsError: `truncate_dim` or `batch_size` is out of bounds.
        """
        if batch_size < 1:
            raise ParamsError(f"`batch_size` must be at least 1, got {batch_size}.")
        if truncate_dim is not None and not 1 <= truncate_dim <= self.dim:
            raise ParamsError(f"`truncate_dim` must be in 1 … {self.dim}, got {truncate_dim}.")
        rows, is_single = self._read(examples)
        starts: Iterable[int] = range(0, len(rows), batch_size)
        if progress:
            starts = track(starts, "encode", total=-(-len(rows) // batch_size))
        parts = [np.empty((0, self.dim), dtype=np.float32)]
        parts += [encode(self._student, rows[at : at + batch_size], batch_size) for at in starts]
        values = np.concatenate(parts)[:, :truncate_dim]
        values = unit_length(values) if normalize else values
        return values[0] if is_single else values

    def similarity(self, one: FloatArray, other: FloatArray) -> FloatArray:
        """Return the cosine similarities of two sets of embeddings, `(n_one, n_other)`.

        Raises:
            ShapeError: The arrays are not two-dimensional, or differ in width.
        """
        one, other = np.atleast_2d(one), np.atleast_2d(other)
        if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
            raise ShapeError(
                f"`one` and `other` must be (n, dim) of one width, got {one.shape} and {other.shape}."
            )
        return unit_length(one) @ unit_length(other).T

    def teacher(self, name: str) -> PredictedTeacher:
        """Return an object that predicts one teacher's embeddings with the heads.

        Raises:
            MissingDataError: The student was saved without heads.
            UnknownNameError: The student was not distilled from a teacher of this name.
        """
        if not self._has_heads:
            raise MissingDataError(
                f"{self._folder} holds no heads to predict a teacher: load a folder with `student` and `heads`."
            )
        return PredictedTeacher(self, self._predictor, name)

    def save(self, folder: str | Path) -> Path:
        """Write the student to a folder that `polydistill.load` and sentence-transformers can load.

        The folder is written completely or not at all; a folder that holds a student is replaced.

        Raises:
            DataError: The folder exists and holds no student.
            ParamsError: The folder cannot be written.
        """
        with written_to(folder) as target:
            is_free = not target.exists() or (target.is_dir() and not any(target.iterdir()))
            if not is_free and not (target / CARD).is_file():
                raise DataError(
                    f"{target} must be a new folder, or one that holds a student: choose another, or remove it."
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".polydistill-", dir=target.parent) as place:
                made = Path(place) / "student"
                copy_folder(self._folder, made)
                if self._has_heads and not (made / HEADS).exists():
                    copy_folder(self._heads, made / HEADS)
                card = json.loads((made / CARD).read_text(encoding="utf-8"))
                text = json.dumps({**card, MODALITY: self.modality}, indent=2)
                write_atomic(made / CARD, text + "\n")
                put_in_place(made, target)
        return target

    def save_onnx(
        self, folder: str | Path, examples: Iterable[object] | Path, *, int8: bool = False
    ) -> OnnxReport:
        """Write the student as an ONNX file, which ONNX Runtime runs without PyTorch.

        The folder gets `model.onnx`, whose output `sentence_embedding` has length one; with `int8`, also
        `model_quantized.onnx` with 8-bit weights; `tokenizer.json` for texts; and `onnx.json`, which states how an
        example becomes the inputs.

        Args:
            folder: The folder to write; a folder of an earlier call is replaced.
            examples: Some real examples, with which the files are compared with the student.
            int8: Whether to write the int8 file too.

        Raises:
            ParamsError: The student cannot be exported to ONNX, or the folder cannot be written.
            DataError: An example cannot be read, the folder holds something else, or a file gives other embeddings.
            MissingExtraError: `pip install "polydistill[onnx]"` was not run.
        """
        on_cpu = load_student(self._folder)
        return save_onnx(on_cpu, folder, self._read(examples)[0], int8=int8)

    def _read(self, examples: object) -> tuple[list[Example], bool]:
        """Return the examples of a list or column, and whether a single example was given.

        Raises:
            DataError: An example cannot be read, or a table was given.
        """
        is_table = hasattr(examples, "columns") or hasattr(examples, "column_names")
        if is_table or isinstance(examples, Mapping):
            raise DataError(
                "`examples` must be a list or one column, got a table: choose a column."
            )
        is_single = isinstance(examples, str | bytes | Path)
        given = [examples] if is_single else examples
        if not isinstance(given, Iterable):
            raise DataError(f"`examples` must be a list of examples, got {short(examples)}.")
        return as_examples(given, self._kind), is_single

    @property
    def _has_heads(self) -> bool:
        return self._heads.is_dir()

    @cached_property
    def _predictor(self) -> TeacherPredictor:
        return TeacherPredictor(self._heads, self._folder)


def load(folder: str | Path, *, modality: str | None = None, device: str = "auto") -> Student:
    """Load a student from a folder.

    Args:
        folder: A folder written by `Student.save`; the folder `artifacts/<modality>` of a project, with
            `student` and `heads`; or a student's bundle alone.
        modality: The kind of the student's examples, if the folder does not record it.
        device: Where the student runs: `cpu`, `cuda`, `cuda:1` or `mps`; `auto`: on an accelerator if the machine has
            one.

    Raises:
        MissingDataError: The folder holds no student.
        ParamsError: The modality is neither recorded nor given, `folder` is not a path, or the machine has no such device.
        DataError: A file is damaged.
    """
    if not isinstance(folder, str | Path):
        raise ParamsError(f"A student's folder must be a path, got {short(folder)}.")
    path, heads = Path(folder), None
    if not os.path.lexists(path / CARD) and os.path.lexists(path / STUDENT / CARD):
        path, heads = path / STUDENT, path / HEADS
    card = read_student_card(path)
    project = path.resolve().parent.name  # artifacts/<modality>/student
    found = modality or card.modality or (project if project in MODALITIES.names() else None)
    if found is None:
        raise ParamsError(
            f"`modality` must say what the examples of {folder} are, one of "
            f"{', '.join(MODALITIES.names())}: its {CARD} does not record it."
        )
    return Student(path, str(found), heads, device)
