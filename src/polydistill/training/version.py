"""A version that a run can start from: a student and its heads, identified by the sha256 of their files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from polydistill.config.method import MethodParams
from polydistill.config.nodes import Plugin
from polydistill.errors import DataError, MissingDataError, ParamsError, StoreError
from polydistill.heads import HEADS
from polydistill.plugins import defaults_of
from polydistill.project.files import sha256_of
from polydistill.students import weights_digest
from polydistill.training.heads_bundle import MEAN, ROTATION, STD, HeadsBundle, load_heads
from polydistill.training.standardise import Standardiser

PARTS = ("student", "heads")


@dataclass(frozen=True)
class Version:
    """A student and the heads that were trained with it.

    Attributes:
        sha256: The sha256 of all files; see `digest_of`.
        student: The folder of the student's bundle.
        student_sha256: The sha256 of the student's weights.
        heads: The loaded heads.
    """

    sha256: str
    student: Path
    student_sha256: str
    heads: HeadsBundle

    def standardiser(self, teacher: str) -> Standardiser:
        """Return the standardiser from a teacher's embeddings to the targets of its head."""
        own = self.heads.statistics[teacher]
        return Standardiser(own[MEAN], own[STD], own.get(ROTATION))


@dataclass(frozen=True)
class Changes:
    """The differences between a run's teachers and those of the version that it starts from.

    Attributes:
        warm: Teachers that both have, whose heads are kept.
        new: Teachers whose heads are newly initialised.
        retired: Teachers whose heads are dropped.
    """

    warm: tuple[str, ...]
    new: tuple[str, ...]
    retired: tuple[str, ...]


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
    heads = load_heads(folder / "heads")
    found, expected = weights_digest(folder / "student"), heads.card.student_sha256
    if found != expected:
        raise StoreError(
            f"{folder / 'heads'} belongs to a student with weights {expected[:12]}, "
            f"{folder / 'student'} has {found[:12]}: take both from one run of the distill stage."
        )
    if unknown := sorted(set(heads.card.teachers) - set(heads.card.identities)):
        raise DataError(
            f"{folder / 'heads'} does not record which weights teacher {unknown[0]!r} had: an older "
            "version of polydistill wrote it. Run the distill stage again."
        )
    return Version(sha256, folder / "student", found, heads)


def open_named(folder: Path, sha256: str) -> Version:
    """Load the version that `text.warm_start.sha256` names.

    Raises:
        MissingDataError: It does not exist.
        StoreError: Its files have another sha256.
        DataError: See `open_version`.
    """
    if not folder.is_dir():
        raise MissingDataError(
            f"No version in {folder}, which warm_start.sha256 names: `dvc pull {folder}.dvc` downloads "
            "it if it was pushed; `polydistill warm-start` imports the model again."
        )
    version = open_version(folder)
    if version.sha256 != sha256:
        raise StoreError(
            f"{folder} has the sha256 {version.sha256[:16]}, warm_start.sha256 is {sha256[:16]}: remove "
            f"the folder, then `dvc checkout {folder}.dvc`, or import the model again with `polydistill warm-start`."
        )
    return version


def require_fit(
    version: Version, block: MethodParams, dims: Mapping[str, int], identities: Mapping[str, str]
) -> Changes:
    """Check that this run can start from a version, and return how their teachers differ.

    Args:
        version: The version to start from.
        block: The run's parameters.
        dims: Width of each of the run's teachers, in order.
        identities: Each teacher's `StoredEmbeddings.identity_sha256`.

    Raises:
        ParamsError: The heads or the weighting have another name or other options, no teacher is in both, or a
            teacher is new and `epochs` is zero.
        StoreError: A teacher has another width or other weights than when its head was trained.
    """
    card = version.heads.card
    _require_same_heads(block.heads, card.heads)
    if block.weighting.name != card.weighting.name:
        raise ParamsError(
            f"weighting must be {card.weighting.name!r}, as in the version that the run starts from, "
            f"got {block.weighting.name!r}: another weighting would change the targets of the heads."
        )
    warm = tuple(name for name in dims if name in card.teachers)
    changes = Changes(
        warm=warm,
        new=tuple(name for name in dims if name not in warm),
        retired=tuple(name for name in card.teachers if name not in warm),
    )
    for name in warm:
        if dims[name] != card.teacher_dims[name]:
            raise StoreError(
                f"Teacher {name!r} must have dim {card.teacher_dims[name]}, as when its head was trained, "
                f"got {dims[name]}: give the other teacher another name."
            )
        if identities[name] != card.identities[name]:
            raise StoreError(
                f"Teacher {name!r} has other weights or settings than when its head was trained (identity "
                f"{card.identities[name][:12]}, now {identities[name][:12]}): give it another name, so "
                "that it counts as new and the old one as retired."
            )
    if not warm:
        raise ParamsError(
            f"warm_start: none of the teachers {', '.join(dims)} is among those of the version, "
            f"{', '.join(card.teachers)}: leave warm_start.sha256 null."
        )
    if changes.new and block.warm_start.epochs == 0:
        raise ParamsError(
            f"warm_start.epochs must be at least 1, got 0: the head of the new teacher {changes.new[0]!r} "
            "must be trained."
        )
    return changes


def _require_same_heads(wanted: Plugin, found: Plugin) -> None:
    """Check that names and options, with defaults filled in, are equal; `max_params` is ignored."""
    if wanted.name != found.name:
        raise _other("name", found.name, wanted.name)
    defaults = defaults_of(HEADS.get(wanted.name))
    mine, theirs = {**defaults, **wanted.options}, {**defaults, **found.options}
    for option in sorted((mine.keys() | theirs.keys()) - {"max_params"}):
        if mine.get(option) != theirs.get(option):
            raise _other(option, theirs.get(option), mine.get(option))


def _other(option: str, expected: object, got: object) -> ParamsError:
    return ParamsError(
        f"heads.{option} must be {expected!r}, as in the version that the run starts from, got {got!r}."
    )
