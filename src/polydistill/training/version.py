"""A version that a run can start from: a student and its heads, identified by the sha256 of their files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from polydistill.errors import DataError, MissingDataError
from polydistill.project.files import sha256_of
from polydistill.training.heads_bundle import HeadsBundle, load_matching_heads

PARTS = ("student", "heads")


@dataclass(frozen=True)
class Version:
    """A student and the heads that were trained with it.

    Attributes:
        folder: The folder with the student's bundle and the heads.
        sha256: The sha256 of all files; see `digest_of`.
        heads: The loaded heads.
    """

    folder: Path
    sha256: str
    heads: HeadsBundle


def digest_of(folder: Path) -> str:
    """Return the sha256 over the path and content of each file in `student` and `heads`.

    Raises:
        MissingDataError: One of the two folders does not exist.
    """
    total = hashlib.sha256()
    for part in PARTS:
        if not (folder / part).is_dir():
            raise MissingDataError(
                f"No {part} in {folder}: a version has the folders student and heads, as the distill "
                "stage writes them."
            )
        for file in sorted(path for path in (folder / part).rglob("*") if path.is_file()):
            total.update(f"{file.relative_to(folder).as_posix()} {sha256_of(file)}\n".encode())
    return total.hexdigest()


def open_version(folder: Path) -> Version:
    """Load a version and check that the student and the heads belong together.

    Raises:
        MissingDataError: The student or the heads are missing.
        DataError: The heads are damaged, or do not record the identities of their teachers.
        StoreError: The heads were trained with another student.
    """
    sha256 = digest_of(folder)
    heads = load_matching_heads(folder / "heads", folder / "student")
    if unknown := sorted(set(heads.card.teachers) - set(heads.card.identities)):
        raise DataError(
            f"{folder / 'heads'} does not record which weights teacher {unknown[0]!r} had: an older "
            "version of polydistill wrote it. Run the distill stage again."
        )
    return Version(folder, sha256, heads)
