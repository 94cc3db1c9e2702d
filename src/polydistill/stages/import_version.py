"""Imports an earlier version into the project for a warm start."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from polydistill.project.files import copy_folder, put_in_place
from polydistill.project.layout import Layout
from polydistill.training.warm_start import PARTS, open_version


@dataclass(frozen=True)
class ImportedVersion:
    """An imported version, which `<modality>.warm_start` can refer to.

    Attributes:
        sha256: The sha256 of its files, the value for `warm_start.sha256`.
        student_sha256: The sha256 of its student's weights.
        student_dim: Width of the student's embeddings.
        teachers: The teachers that its heads predict.
        folder: Its folder in the project.
    """

    sha256: str
    student_sha256: str
    student_dim: int
    teachers: tuple[str, ...]
    folder: Path


def import_version(root: Path, modality: str, source: Path) -> ImportedVersion:
    """Copy a version into the project, to a folder named after its checksum. A repeated import changes nothing.

    Args:
        root: The project folder.
        modality: The student's modality.
        source: A folder that holds `student` and `heads`, such as `artifacts/text`.

    Raises:
        PolydistillError: See `warm_start.open_version`.
    """
    version = open_version(source)
    layout = Layout(root, modality)
    folder = layout.warm_start(version.sha256)
    if not folder.is_dir() or open_version(folder).sha256 != version.sha256:
        made = layout.work("warm-start", version.sha256[:16])
        shutil.rmtree(made, ignore_errors=True)
        for part in PARTS:
            copy_folder(source / part, made / part)
        put_in_place(made, folder)
    card = version.heads.card
    return ImportedVersion(
        version.sha256, card.student_sha256, card.student_dim, card.teachers, folder
    )
