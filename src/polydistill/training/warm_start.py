"""Warm start: the student and the heads start with the weights of an earlier version."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerState, TrainingArguments

from polydistill.config.nodes import Plugin
from polydistill.config.training import MethodParams, TrainingParams
from polydistill.contracts import Example, Heads, Student
from polydistill.embeddings.store import StoredEmbeddings
from polydistill.errors import DataError, MissingDataError, ParamsError, StoreError
from polydistill.heads import HEADS
from polydistill.plugins import defaults_of
from polydistill.project.files import sha256_of
from polydistill.students import load_student
from polydistill.training.heads_bundle import HeadsBundle, HeadsCard, load_matching_heads

PARTS = ("student", "heads")
COMPARED_EXAMPLES = 64
_Rows = tuple[Tensor, Tensor]
"""The values of a parameter or buffer before the first step, and a mask of the rows that must keep them."""
"""A tensor, its old values, and a mask of the rows that must not change."""


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


@dataclass(frozen=True)
class WarmStart:
    """The part of `reports/<modality>/distill.json` about the version that a run started from.

    Attributes:
        sha256: The sha256 of the version.
        student_sha256: The sha256 of its student's weights.
        warm: Teachers whose heads were kept.
        new: Teachers whose heads were newly initialised.
        retired: Teachers whose heads were dropped.
        head_steps: Number of first steps, at most half of all, in which only the new heads were trained.
    """

    sha256: str
    student_sha256: str
    warm: tuple[str, ...]
    new: tuple[str, ...]
    retired: tuple[str, ...]
    head_steps: int


@dataclass(frozen=True)
class Origin:
    """The version that a run starts from, and the resulting training parameters.

    Attributes:
        version: An earlier student and its heads.
        report: The version, and the differences between its teachers and those of the run.
        training: The training parameters of the run.
    """

    version: Version
    report: WarmStart
    training: TrainingParams


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


def open_origin(
    folder: Path, method: MethodParams, stored: Mapping[str, StoredEmbeddings]
) -> Origin:
    """Load the version that `method.warm_start` names, and check that this run can start from it.

    Args:
        folder: The folder of the version.
        method: The run's parameters.
        stored: The embeddings of each of the run's teachers, in order.

    Raises:
        MissingDataError: The version does not exist.
        StoreError: The version's files have another sha256, or a teacher has another width or other weights than
            when its head was trained.
        ParamsError: The version's heads or weighting differ in name, the heads differ in options, the version and the
            run have no teacher in common, or a teacher is new and `epochs` is zero.
        DataError: See `open_version`.
    """
    version = _open_named(folder, str(method.warm_start.sha256))
    card = version.heads.card
    _require_same_heads(method.heads, card.heads)
    _require_same("weighting", method.weighting.name, card.weighting.name)
    warm = tuple(name for name in stored if name in card.teachers)
    new = tuple(name for name in stored if name not in card.teachers)
    retired = tuple(name for name in card.teachers if name not in stored)
    for name in warm:
        _require_same_teacher(name, stored[name], card)
    if not warm:
        raise ParamsError(
            f"warm_start: none of the teachers {', '.join(new)} is among those of the version, "
            f"{', '.join(card.teachers)}: leave warm_start.sha256 null."
        )
    if new and method.warm_start.epochs == 0:
        raise ParamsError(
            f"warm_start.epochs must be at least 1, got 0: the head of the new teacher {new[0]!r} "
            "must be trained."
        )
    training = method.warm_start.applied_to(method.training, new_teachers=bool(new))
    steps = training.head_warmup_steps
    report = WarmStart(version.sha256, card.student_sha256, warm, new, retired, steps)
    return Origin(version, report, training)


@torch.no_grad()
def inherit(new: nn.Module, old: nn.Module, teachers: Iterable[str]) -> None:
    """Copy from `old` to `new` the shared weights, and the weights that belong to one of `teachers` alone.

    Both modules have the same class and options, but may have different teachers in a different order. Afterwards
    `new` gives the same predicted embeddings as `old` for the copied teachers.

    Args:
        new: Newly initialised heads.
        old: Trained heads.
        teachers: Names of the copied teachers, which both modules have.
    """
    mine, theirs = dict(new.named_parameters()), dict(old.named_parameters())
    owned = rows_of_all(new, cast("Heads", new).teachers)
    for name, weight in mine.items():
        if name not in owned:
            weight.copy_(theirs[name])
    for teacher in teachers:
        targets, sources = (cast("Heads", heads).own_rows(teacher) for heads in (new, old))
        for (name, rows), (source, there) in zip(targets.items(), sources.items(), strict=True):
            mine[name][rows] = theirs[source][there]
            layers = new.get_submodule(_layer(name)), old.get_submodule(_layer(source))
            for buffer, learned in zip(*(layer.buffers() for layer in layers), strict=True):
                buffer.copy_(learned)  # such as running means; the layer belongs to one teacher


def rows_of_all(
    heads: nn.Module, teachers: Iterable[str], *, means_only: bool = False
) -> dict[str, Tensor]:
    """Return, by parameter, a mask of the rows that belong to a single one of `teachers`: bool, `(rows,)`.

    With `means_only`, the mask contains only the rows that produce the teachers' means.
    """
    rows_of = cast("Heads", heads).mean_rows if means_only else cast("Heads", heads).own_rows
    found: dict[str, Tensor] = {}
    for teacher in teachers:
        for name, rows in rows_of(teacher).items():
            found[name] = found[name] | rows if name in found else rows
    return found


class HoldHeads(TrainerCallback):
    """Restores the frozen rows of the heads after each step.

    The heads of known teachers have already been trained on the training rows. If their scales were trained further,
    they would fit the student's errors on memorised rows, and the held-out loss would jump within a few steps. Their
    means must follow the student, so the means are trained together with the student.

    Args:
        heads: The heads before the first step.
        report: Names the new and the known teachers. All rows of new teachers are trained from the first step. Of
            known teachers, only the rows that produce the means are trained. Shared rows are frozen.
        training: The training parameters; the means of known teachers are frozen until the student is trained.
    """

    def __init__(self, heads: nn.Module, report: WarmStart, training: TrainingParams) -> None:
        new = rows_of_all(heads, report.new)
        known = rows_of_all(heads, report.warm, means_only=True)
        self._heads, self._training = heads, training
        self._frozen, self._waiting = dict[str, _Rows](), dict[str, _Rows]()
        for name, weight in heads.named_parameters():
            before, trained = weight.detach().clone(), torch.zeros(len(weight), dtype=torch.bool)
            if name in known:
                self._waiting[name] = before, known[name]
            for rows in (new, known):
                trained = trained | rows.get(name, trained)
            self._frozen[name] = before, ~trained
        for name, seen in heads.named_buffers():
            if seen.dim() and f"{_layer(name)}.weight" not in new:
                self._frozen[name] = seen.clone(), torch.ones(len(seen), dtype=torch.bool)

    @torch.no_grad()
    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any
    ) -> None:
        """Restore the rows that must not change."""
        waits = state.global_step < self._training.student_start(args.max_steps)
        tensors = {**dict(self._heads.named_parameters()), **dict(self._heads.named_buffers())}
        for held in (self._frozen, self._waiting) if waits else (self._frozen,):
            for name, (before, rows) in held.items():
                tensors[name][rows] = before[rows].to(tensors[name].device)


def begin(
    origin: Origin, student: Student, heads: nn.Module, examples: Sequence[Example]
) -> HoldHeads:
    """Copy the origin's weights into the newly initialised student and heads, in place.

    Returns:
        The callback that keeps parts of the heads fixed during training.

    Raises:
        ParamsError: The origin's student differs from the one in `params.yaml` in width, in the shapes of its
            weights, or in how it reads examples.
    """
    old = load_student(origin.version.folder / "student")
    _require_same("student", type(student).__name__, type(old).__name__)
    _require_same("student.dim", student.dim, old.dim)
    try:
        student.module.load_state_dict(old.module.state_dict())
    except RuntimeError as error:  # torch names the weights that differ
        raise ParamsError(
            "student must have the weights of the version that the run starts from: "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error
    some = examples[:COMPARED_EXAMPLES]
    mine, theirs = student.collate(some), old.collate(some)
    if mine.keys() != theirs.keys() or not all(torch.equal(mine[key], theirs[key]) for key in mine):
        raise ParamsError(
            "student must read examples as in the version that the run starts from: give the "
            "same tokenizer and max_tokens."
        )
    inherit(heads, origin.version.heads.module, origin.report.warm)
    return HoldHeads(heads, origin.report, origin.training)


def _layer(parameter: str) -> str:
    return parameter.rpartition(".")[0]


def _open_named(folder: Path, sha256: str) -> Version:
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


def _require_same_heads(wanted: Plugin, found: Plugin) -> None:
    """Check that names and options, with defaults filled in, are equal; `max_params` is ignored."""
    _require_same("heads.name", wanted.name, found.name)
    defaults = defaults_of(HEADS.get(wanted.name))
    mine, theirs = {**defaults, **wanted.options}, {**defaults, **found.options}
    for option in sorted((mine.keys() | theirs.keys()) - {"max_params"}):
        _require_same(f"heads.{option}", mine.get(option), theirs.get(option))


def _require_same(setting: str, got: object, expected: object) -> None:
    if got != expected:
        raise ParamsError(
            f"{setting} must be {expected!r}, as in the version that the run starts from, got {got!r}."
        )


def _require_same_teacher(name: str, stored: StoredEmbeddings, card: HeadsCard) -> None:
    for what, got, expected in (
        ("dim", stored.dim, card.teacher_dims[name]),
        ("weights and settings of identity", stored.identity_sha256, card.identities[name]),
    ):
        if got != expected:
            raise StoreError(
                f"Teacher {name!r} must have {what} {str(expected)[:12]}, as when its head was trained, got "
                f"{str(got)[:12]}: give it another name, so that it counts as new and the old one as retired."
            )
