"""Warm start: the student and the heads start with the weights of an earlier version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from polydistill.config.method import MethodParams
from polydistill.config.training import TrainingParams
from polydistill.contracts import Example, Heads, Student
from polydistill.errors import ParamsError
from polydistill.students import load_student
from polydistill.training.standardise import Standardiser
from polydistill.training.version import Changes, Version, open_named, require_fit

COMPARED_EXAMPLES = 64
_Held = tuple[Tensor, Tensor, Tensor | slice]
"""A tensor, its old values, and a mask of the rows that must not change."""


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
    """The version that a run starts from, and how its teachers differ.

    Attributes:
        version: An earlier student and its heads.
        changes: Which teachers are new, and which retired.
    """

    version: Version
    changes: Changes

    @property
    def standardisers(self) -> dict[str, Standardiser]:
        """The standardisers of the kept heads, with the statistics that the heads were trained with."""
        return {teacher: self.version.standardiser(teacher) for teacher in self.changes.warm}


@dataclass(frozen=True)
class LearningRows:
    """Masks of the rows of the heads' parameters that a warm start trains: bool, `(rows,)`, by name without `heads.`.

    Attributes:
        new: Rows that belong to new teachers alone; trained from the first step.
        known: Rows that produce the means of known teachers; trained with the student. Other rows are frozen.
    """

    new: Mapping[str, Tensor]
    known: Mapping[str, Tensor]


@dataclass(frozen=True)
class Start:
    """The settings with which a run starts.

    Attributes:
        training: The training parameters.
        learning: See `LearningRows`. None: the run starts from scratch.
        report: The version that the run starts from. None: the run starts from scratch.
    """

    training: TrainingParams
    learning: LearningRows | None = None
    report: WarmStart | None = None


def open_origin(
    folder: Path, block: MethodParams, dims: Mapping[str, int], identities: Mapping[str, str]
) -> Origin:
    """Load the version that `block.warm_start` names, from `folder`. See `version.require_fit`.

    Raises:
        PolydistillError: See `version.open_named` and `version.require_fit`.
    """
    version = open_named(folder, str(block.warm_start.sha256))
    return Origin(version, require_fit(version, block, dims, identities))


def begin(
    origin: Origin | None,
    block: MethodParams,
    student: Student,
    heads: nn.Module,
    examples: Sequence[Example],
) -> Start:
    """Copy the origin's weights into the newly initialised student and heads, in place.

    Raises:
        ParamsError: The origin's student differs from the one in `params.yaml` in width, in the shapes of its
            weights, or in how it reads examples.
    """
    if origin is None:
        return Start(block.training)
    version, changes = origin.version, origin.changes
    old = load_student(version.student)
    _require_same_student(student, old, examples)
    student.module.load_state_dict(old.module.state_dict())
    inherit(heads, version.heads.module, changes.warm)
    training = block.warm_start.applied_to(block.training, new_teachers=bool(changes.new))
    learning = LearningRows(
        new=rows_of_all(heads, changes.new),
        known=rows_of_all(heads, changes.warm, means_only=True),
    )
    told = WarmStart(
        version.sha256,
        version.student_sha256,
        changes.warm,
        changes.new,
        changes.retired,
        training.head_warmup_steps,
    )
    return Start(training, learning, told)


@torch.no_grad()
def inherit(new: nn.Module, old: nn.Module, teachers: Iterable[str]) -> None:
    """Copy into `new` what `old` has learned: the shared parts, and all that belongs to `teachers` alone.

    Both are of one kind and shape, except that they may have other teachers, in another order. `new` then predicts
    a known teacher as `old` does: its weights are the same bits.

    Args:
        new: Freshly made heads.
        old: Trained ones.
        teachers: Those that both know.
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
            mine_seen, theirs_seen = (
                _layer_of(new, name).buffers(),
                _layer_of(old, source).buffers(),
            )
            for buffer, learned in zip(mine_seen, theirs_seen, strict=True):
                buffer.copy_(learned)  # such as running means: the layer belongs to one teacher


def rows_of_all(
    heads: nn.Module, teachers: Iterable[str], *, means_only: bool = False
) -> dict[str, Tensor]:
    """Return, by parameter, which rows belong to one of the teachers alone: bool, `(rows,)`.

    With `means_only`, those that make the teachers' means.
    """
    rows_of = cast("Heads", heads).mean_rows if means_only else cast("Heads", heads).own_rows
    found: dict[str, Tensor] = {}
    for teacher in teachers:
        for name, rows in rows_of(teacher).items():
            found[name] = found[name] | rows if name in found else rows
    return found


def _layer_of(heads: nn.Module, parameter: str) -> nn.Module:
    return heads.get_submodule(parameter.rpartition(".")[0])


class HoldHeads(TrainerCallback):
    """Restores the frozen rows of the heads after each step.

    Known heads have already been trained on the rows. If their scales were trained further, they would fit the
    student's errors on memorised rows, and the held-out loss would jump within a few steps. Their means must follow
    the student, so they are trained when the student is.

    Args:
        model: The model before its first step; its heads' parameters have the prefix `heads.`.
        learning: The rows that are trained.
        training: The training parameters; the means of known teachers are frozen as long as the student.
    """

    def __init__(self, model: nn.Module, learning: LearningRows, training: TrainingParams) -> None:
        heads = model.get_submodule("heads")
        self._training, self._held, self._waiting = training, list[_Held](), list[_Held]()
        for name, weight in heads.named_parameters():
            nothing = torch.zeros(len(weight), dtype=torch.bool)
            new, known = (rows.get(name, nothing) for rows in (learning.new, learning.known))
            before = weight.detach().clone()
            self._held.append((weight, before, ~(new | known)))
            if bool(known.any()):
                self._waiting.append((weight, before, known))
        self._held += [
            (seen, seen.clone(), slice(None))
            for name, seen in heads.named_buffers()
            if seen.dim() and f"{name.rpartition('.')[0]}.weight" not in learning.new
        ]

    @torch.no_grad()
    def on_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Restore the rows that must not change."""
        waits = state.global_step < self._training.student_start(args.max_steps)
        for weight, before, rows in self._held + (self._waiting if waits else []):
            weight[rows] = before[rows]


def _require_same_student(student: Student, old: Student, examples: Sequence[Example]) -> None:
    """Check that the version's student is the one that `params.yaml` describes."""
    if old.dim != student.dim:
        raise ParamsError(
            f"student.dim must be {old.dim}, as in the version that the run starts from, got "
            f"{student.dim}."
        )
    shapes, expected = _shapes(student.module), _shapes(old.module)
    if type(old) is not type(student) or shapes != expected:
        raise ParamsError(
            "student must be as in the version that the run starts from: "
            f"{type(old).__name__} with weights {_text(expected)}, got {type(student).__name__} with "
            f"{_text(shapes)}."
        )
    some = examples[:COMPARED_EXAMPLES]
    mine, theirs = student.collate(some), old.collate(some)
    if mine.keys() != theirs.keys() or not all(torch.equal(mine[key], theirs[key]) for key in mine):
        raise ParamsError(
            "student must read examples as in the version that the run starts from: give the "
            "same tokenizer and max_tokens."
        )


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def _text(shapes: Mapping[str, tuple[int, ...]]) -> str:
    first = next(iter(shapes.items()), ("none", ()))
    return f"{first[0]} {first[1]}" + (f" and {len(shapes) - 1} more" if len(shapes) > 1 else "")
