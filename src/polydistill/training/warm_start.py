"""Student and heads that start where those of an earlier version ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from polydistill.contracts import Example, Student
from polydistill.errors import ParamsError
from polydistill.heads._inherit import inherit, rows_of_all
from polydistill.params import ModalityParams, TrainingParams
from polydistill.students import load_student
from polydistill.training.standardise import Standardiser
from polydistill.training.version import Changes, Version, open_named, require_fit

COMPARED_EXAMPLES = 64


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
class Start:
    """How a run begins.

    Attributes:
        training: The loop's numbers.
        learning: See `trainer.TrainingPlan`.
        report: What it goes on from; none: from scratch.
    """

    training: TrainingParams
    learning: Mapping[str, Tensor] | None = None
    report: WarmStart | None = None


def open_origin(
    folder: Path, block: ModalityParams, dims: Mapping[str, int], identities: Mapping[str, str]
) -> Origin:
    """Load the version that `block.warm_start` names, from `folder`. See `version.require_fit`.

    Raises:
        PolydistillError: See `version.open_named` and `version.require_fit`.
    """
    version = open_named(folder, str(block.warm_start.sha256))
    return Origin(version, require_fit(version, block, dims, identities))


def begin(
    origin: Origin | None,
    block: ModalityParams,
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
    training = block.warm_start.in_place_of(block.training, new_teachers=bool(changes.new))
    rows = {f"heads.{name}": rows for name, rows in rows_of_all(heads, changes.new).items()}
    told = WarmStart(
        version.sha256,
        version.student_sha256,
        changes.warm,
        changes.new,
        changes.retired,
        training.head_warmup_steps,
    )
    return Start(training, rows, told)


class HoldHeads(TrainerCallback):
    """After each step, puts back whatever of the heads is not to learn: those that know their teachers already.

    They have seen the rows before. Left to learn on, they would take the student's errors on rows that it has
    learned by heart for its errors on all, and the held-out loss would jump within a few steps.

    Args:
        model: The model before its first step; its heads stand below `heads.`.
        learning: Which rows may learn, `(rows,)`, by parameter; a parameter that is not there may not.
    """

    def __init__(self, model: nn.Module, learning: Mapping[str, Tensor]) -> None:
        self._held = [
            (weight, weight.detach().clone(), ~learning[name] if name in learning else slice(None))
            for name, weight in model.named_parameters()
            if name.startswith("heads.")
        ] + [
            (seen, seen.clone(), slice(None))
            for name, seen in model.named_buffers()
            if name.startswith("heads.")
            and seen.dim()
            and f"{name.rpartition('.')[0]}.weight" not in learning
        ]

    @torch.no_grad()
    def on_optimizer_step(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Undo the step where nothing was to change."""
        for weight, before, rows in self._held:
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
