"""Export folders: a student, a fitted map of its embeddings, and a card. They contain no pickle files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from polydistill.config.nodes import Node, Plugin
from polydistill.contracts import Example, FloatArray, Student
from polydistill.errors import MissingDataError, StoreError
from polydistill.export.kinds import EXPORTS
from polydistill.project.card import damaged, read_card, write_card
from polydistill.project.files import copy_folder, write_atomic
from polydistill.students import encode, load_student, weights_digest
from polydistill.training.heads_bundle import HeadsBundle, load_matching_heads

CARD, ARRAYS, STUDENT, HEADS = "export.json", "export.safetensors", "student", "heads"
REMEDY = "export the student again"


class Export(Protocol):
    """A fixed map of a student's embeddings: a dataclass whose attributes are the fitted arrays.

    The classmethod `build(embeddings, …)` fits the map to the student's embeddings of training rows,
    `(n, student_dim)`. Options are keyword arguments of `build`. If `needs_heads` is true, `build` and the constructor
    take the argument `heads`.
    """

    needs_heads: ClassVar[bool]

    def apply(self, embeddings: FloatArray) -> FloatArray:
        """Map the student's embeddings, `(n, student_dim)`, to `(n, dim)`. Each row is mapped independently."""


class ExportCard(Node):
    """The content of `export.json`.

    Attributes:
        export: Plug-in name and options of the export.
        dim: Width of the exported embeddings.
        student_sha256: The sha256 of the student's weights.
    """

    export: Plugin
    dim: int
    student_sha256: str


class ExportedStudent:
    """A student whose embeddings are transformed by an export's map."""

    def __init__(self, card: ExportCard, student: Student, export: Export) -> None:
        self.card, self.dim = card, card.dim
        self._student, self._export = student, export

    def encode(self, examples: Sequence[Example]) -> FloatArray:
        """Return the embeddings of the examples, `(n_examples, dim)`, float32. Compare them by cosine similarity."""
        return self._export.apply(encode(self._student, examples))


def save_export(folder: Path, plugin: Plugin, export: Export, student: Path, heads: Path) -> None:
    """Write an export folder. The bytes depend only on the student, the heads and the options.

    Args:
        folder: A folder that does not exist yet.
        plugin: Name and options of the export.
        export: The fitted export.
        student: The student's bundle, which is copied.
        heads: The heads' folder, which is copied if the export needs the heads.
    """
    folder.mkdir(parents=True)
    copy_folder(student, folder / STUDENT)
    if export.needs_heads:
        copy_folder(heads, folder / HEADS)
    arrays = {name: values for name, values in vars(export).items() if name != HEADS}
    write_atomic(folder / ARRAYS, save(arrays))
    width = load_student(student).dim
    dim = export.apply(np.zeros((1, width), dtype=np.float32)).shape[1]
    card = ExportCard(export=plugin, dim=dim, student_sha256=weights_digest(student))
    write_card(folder / CARD, card.model_dump(mode="json"))


def load_export(folder: Path) -> ExportedStudent:
    """Load an export folder that `save_export` wrote.

    Raises:
        MissingDataError: The folder holds no export.
        DataError: A file is damaged.
        StoreError: The student, the heads and the export do not belong together.
        UnknownNameError: The export is not a known plug-in.
    """
    for file in (CARD, ARRAYS):
        if not (folder / file).exists():
            raise MissingDataError(f"No {file} in {folder}: `polydistill export` writes it.")
    try:
        card = ExportCard.model_validate(read_card(folder / CARD, REMEDY, verify=False))
        student = folder / STUDENT
        if (found := weights_digest(student)) != card.student_sha256:
            raise StoreError(
                f"{folder} was made for a student with weights {card.student_sha256[:12]}, and holds "
                f"{found[:12]}: export the student again."
            )
        read_card(folder / CARD, REMEDY)
        entry, arrays = EXPORTS.get(card.export.name), load_file(folder / ARRAYS)
        export = entry(**arrays, **heads_for(entry, folder / HEADS, student))
    except (ValidationError, SafetensorError, TypeError) as error:
        raise damaged(folder, error, REMEDY) from error  # a TypeError names the missing array
    return ExportedStudent(card, load_student(student), export)


def heads_for(entry: Any, heads: Path, student: Path) -> dict[str, HeadsBundle]:
    """Return the keyword argument `heads` of an export that needs them; see `load_matching_heads`."""
    return {HEADS: load_matching_heads(heads, student)} if entry.needs_heads else {}
