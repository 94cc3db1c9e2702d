"""What each kind of plug-in must be: the only thing that stages and plug-ins know of one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

FloatArray = NDArray[np.float32]
Example = str | bytes
"""One input: a text, a molecule's SMILES, or an image's bytes."""


class Progress(Protocol):
    """What a long operation calls after each piece of work."""

    def __call__(self, what: str, done: int, total: int, **figures: float) -> None:
        """Report that `done` of `total` units of `what` are finished; `figures` are shown beside them."""


def silent(what: str, done: int, total: int, **figures: float) -> None:
    """Report nothing: the default progress of every operation."""


def widened(tensor: Tensor) -> Tensor:
    """Return half-precision numbers as float32, and all others unchanged.

    Sums, exponentials and factorisations need float32.

    Examples:
        >>> import torch
        >>> widened(torch.zeros(2, dtype=torch.bfloat16)).dtype, widened(torch.zeros(2).double()).dtype
        (torch.float32, torch.float64)
    """
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def without_autocast(tensor: Tensor) -> torch.autocast:
    """Return a context, on the device of `tensor`, in which products keep the precision of their factors."""
    return torch.autocast(tensor.device.type, enabled=False)


@dataclass(frozen=True)
class Embeddings:
    """What a teacher gives for some examples.

    Attributes:
        values: `(n_examples, dim)`, float32; a missing row holds zeros.
        present: `(n_examples,)`, bool; false where the teacher cannot embed the example.
    """

    values: FloatArray
    present: NDArray[np.bool_]


class Teacher(Protocol):
    """A frozen source of embeddings. Building one loads no weights; the first `embed` does."""

    name: str
    dim: int
    by_id: bool
    """Whether `embed` is handed the examples' ids in their place: a table that somebody else made."""

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """Whatever changes the embeddings, and nothing else.

        The sha256 of the weights (or a hub revision), the version of the family's code, prompt, pooling,
        preprocessing and precision. The store's keys are made of it. Reads files, loads no model.
        """

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """Embed examples, in order; equal inputs give equal rows, whatever stands beside them."""


@dataclass(frozen=True)
class Rule:
    """One expectation about a table, in the vocabulary of Great Expectations.

    Attributes:
        type: The expectation's snake-case type: `expect_column_values_to_be_unique`.
        kwargs: Its arguments: `{"column": "id"}`.
        because: What is wrong when it fails, in one sentence for a person.
    """

    type: str
    kwargs: Mapping[str, object]
    because: str


class Modality(Protocol):
    """How examples of one kind are read, named and checked."""

    name: str
    column: str
    """The column of a corpus or a task that holds the example."""
    near_similarity: float | None
    """Least Jaccard index of two near keys' character 5-grams that makes their examples near-duplicates.

    None where only equal keys do: of a hash, or of a formula, a few characters are no likeness.
    """

    @property
    def requirements(self) -> Sequence[str]:
        """Distributions, beside those of every student, that a served model needs for its examples."""

    def content_id(self, example: Example) -> str:
        """Return a name for the content: 32 hexadecimal digits; equal content, equal name."""

    def near_key(self, example: Example) -> str:
        """Return a key that trivially different examples share (case, spacing, punctuation)."""

    def split_key(self, example: Example) -> str | None:
        """Return a key whose examples no split may tear apart, whatever a table's groups say: a scaffold.

        None where the modality knows of none. Rows that a task declares to stand alone (`group: id`) may be.
        """

    def coerce(self, value: object) -> Example:
        """Return the example that a user's value stands for: of an image, a path, bytes or an array.

        Raises:
            DataError: It stands for none.
        """

    def derived(self, shown: Sequence[Sequence[Example]]) -> Mapping[str, Sequence[float]]:
        """Return the columns that the rules below need and a table does not have, one number a row.

        `shown` holds each row's examples that are there: one, or two of a pair. Nothing raises: what
        cannot be read gets a number that a rule refuses.
        """

    def corpus_rules(self) -> Sequence[Rule]:
        """Return what a corpus must fulfil, over its own and the derived columns."""

    def task_rules(self, columns: Sequence[str]) -> Sequence[Rule]:
        """Return what a task must fulfil; `columns` hold its examples."""


class Student(Protocol):
    """A small trainable encoder. `build` and `load` are its classmethods (see `students`)."""

    dim: int

    @property
    def module(self) -> nn.Module:
        """What an optimiser trains."""

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Turn examples into what `forward` takes."""

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return embeddings, `(batch, dim)`, not normalised."""

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and settings; the same student writes the same bytes."""


@dataclass(frozen=True)
class Prediction:
    """What a head expects of one teacher, given the student: a mixture of Gaussians.

    All in one precision, that of the targets, and float32 at least: see `widened`.

    Attributes:
        mean: `(batch, modes, teacher_dim)`.
        log_scale: Logarithm of the standard deviation, `(batch, modes, teacher_dim)`.
        log_weights: Logarithm of the modes' weights, `(batch, modes)`; sums to one over the modes.
        factor: Of a low-rank covariance, `(modes, teacher_dim, rank)`: what is added to the squared scales on
            the diagonal is its product with its transpose.
        triangle: Of a full precision, `(modes, teacher_dim, teacher_dim)`, lower triangular with a diagonal of
            ones: it stands on either side of the inverse squared scales.
    """

    mean: Tensor
    log_scale: Tensor
    log_weights: Tensor
    factor: Tensor | None = None
    triangle: Tensor | None = None


class Heads(Protocol):
    """From the student to every teacher, as a module; options are keyword arguments of its class.

    It knows which of its parameters serve which teacher, so that a later run can go on from them.
    """

    @property
    def teachers(self) -> tuple[str, ...]:
        """The teachers' names, in order."""

    def own_rows(self, teacher: str) -> dict[str, Tensor]:
        """Return which rows of which parameters serve one teacher alone: bool, `(rows,)`, by name.

        In the same order for every teacher; a parameter that no teacher has rows of is shared by all.
        """

    def mean_rows(self, teacher: str) -> dict[str, Tensor]:
        """Return those of `own_rows` that make the teacher's means, and no scale and no weight of a mode."""

    def __call__(
        self, student: Tensor, masks: Mapping[str, Tensor] | None = None
    ) -> dict[str, Prediction]:
        """Predict each teacher from student embeddings `(batch, student_dim)`.

        `masks`, `(batch,)` a teacher, are false for rows that it lacks: what is predicted for them is finite and
        means nothing. Heads that learn from the rows side by side leave them out; none: all are there. In
        eval mode a row does not depend on those beside it.
        """


class DistillationLoss(Protocol):
    """One objective for one teacher, unreduced. Options are keyword arguments of the function."""

    def __call__(self, prediction: Prediction, target: Tensor, mask: Tensor) -> Tensor:
        """Return `(batch,)`; zero where `mask` (`(batch,)`, bool) is false.

        `target` is the teacher's standardised embeddings, `(batch, teacher_dim)`.
        """


class GeometryTerm(Protocol):
    """A relational objective, which looks at the student's embeddings beside the teachers'."""

    def __call__(
        self, student: Tensor, targets: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> Tensor:
        """Return `(batch,)` for `student` `(batch, dim)` and one `(batch, teacher_dim)` a teacher."""
