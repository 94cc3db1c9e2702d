"""Student and heads that start where those of an earlier version ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from polydistill.config.method import MethodParams
from polydistill.config.training import TrainingParams
from polydistill.contracts import Example, Student
from polydistill.errors import ParamsError
from polydistill.students import load_student
from polydistill.training.inheritance import inherit, mean_rows_of_all, rows_of_all
from polydistill.training.standardise import Standardiser
from polydistill.training.version import Changes, Version, open_named, require_fit

COMPARED_EXAMPLES = 64
_Held = tuple[Tensor, Tensor, Tensor | slice]
"""A tensor, what it was, and the rows that stay so."""


@dataclass(frozen=True)
class WarmStart:
    """What `reports/<modality>/distill.json` says of the version that a run went on from.

    Attributes:
        sha256: Of the version.
        student_sha256: Of its student's weights.
        warm: Teachers whose heads went on.
        new: Teachers whose heads started from nothing.
        retired: Teachers whose heads were dropped.
        head_steps: First steps, at most half of all, in which the student waited for the new heads.
    """

    sha256: str
    student_sha256: str
    warm: tuple[str, ...]
    new: tuple[str, ...]
    retired: tuple[str, ...]
    head_steps: int


@dataclass(frozen=True)
class Origin:
    """What a run goes on from, and how its teachers differ.

    Attributes:
        version: An earlier student and its heads.
        changes: Which teachers are new, and which retired.
    """

    version: Version
    changes: Changes

    @property
    def standardisers(self) -> dict[str, Standardiser]:
        """What the heads that go on predict in: the statistics that they were trained with stay theirs."""
        return {teacher: self.version.standardiser(teacher) for teacher in self.changes.warm}


@dataclass(frozen=True)
class LearningRows:
    """Which rows of the heads' parameters learn in a warm start: bool, `(rows,)`, by name below `heads.`.

    Attributes:
        new: All that belongs to new teachers alone: from the first step on.
        known: What makes the means of known teachers: with the student. All else holds still.
    """

    new: Mapping[str, Tensor]
    known: Mapping[str, Tensor]


@dataclass(frozen=True)
class Start:
    """How a run begins.

    Attributes:
        training: The loop's numbers.
        learning: See `LearningRows`; none: from scratch.
        report: What it goes on from; none: from scratch.
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
    """Put what the origin has learned into the freshly made student and heads, in place.

    Raises:
        ParamsError: The origin's student is not the one that `params.yaml` describes: it has another width,
            other weights, or reads examples in another way.
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
        new=rows_of_all(heads, changes.new), known=mean_rows_of_all(heads, changes.warm)
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


class HoldHeads(TrainerCallback):
    """After each step, puts back whatever of the heads is not to learn then.

    Known heads have seen the rows before. Their scales, left to learn on, would take the student's errors on rows
    that it has learned by heart for its errors on all, and the held-out loss would jump within a few steps. Their
    means have to follow the student, and wait for it.

    Args:
        model: The model before its first step; its heads stand below `heads.`.
        learning: What may learn.
        training: The loop's numbers: known means wait as long as the student.
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
        """Undo the step where nothing was to change."""
        waits = state.global_step < self._training.student_start(args.max_steps)
        for weight, before, rows in self._held + (self._waiting if waits else []):
            weight[rows] = before[rows]


def _require_same_student(student: Student, old: Student, examples: Sequence[Example]) -> None:
    """Refuse a version whose student is not the one that `params.yaml` describes."""
    if old.dim != student.dim:
        raise ParamsError(
            f"student.dim must be {old.dim}, as of the version that the run goes on from, got "
            f"{student.dim}."
        )
    shapes, expected = _shapes(student.module), _shapes(old.module)
    if type(old) is not type(student) or shapes != expected:
        raise ParamsError(
            "student must be as that of the version that the run goes on from: "
            f"{type(old).__name__} with weights {_text(expected)}, got {type(student).__name__} with "
            f"{_text(shapes)}."
        )
    some = examples[:COMPARED_EXAMPLES]
    mine, theirs = student.collate(some), old.collate(some)
    if mine.keys() != theirs.keys() or not all(torch.equal(mine[key], theirs[key]) for key in mine):
        raise ParamsError(
            "student must read examples as that of the version that the run goes on from: give the "
            "same tokenizer and max_tokens."
        )


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def _text(shapes: Mapping[str, tuple[int, ...]]) -> str:
    first = next(iter(shapes.items()), ("none", ()))
    return f"{first[0]} {first[1]}" + (f" and {len(shapes) - 1} more" if len(shapes) > 1 else "")
