"""The interfaces of teachers, modalities, students, heads, losses and trackers, and the types that they exchange."""

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


class Tracker:
    """Records a run while it happens; this one, the default of every stage, records nothing.

    A tracker may be slow or unreachable but must never fail the run.
    """

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record the run's parameters; nested mappings are allowed."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record `metrics` after optimiser step `step`; a name may be a path such as `held_out/minilm-l6`."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record facts known at the end of the run, such as the student's sha256."""

    def close(self) -> None:
        """Write pending records and close the tracker."""


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
    """A teacher's embeddings of some examples.

    Attributes:
        values: `(n_examples, dim)`, float32; a missing row holds zeros.
        present: `(n_examples,)`, bool; false where the teacher cannot embed the example.
    """

    values: FloatArray
    present: NDArray[np.bool_]


class Teacher(Protocol):
    """A frozen source of embeddings. The constructor loads no weights; the first `embed` does."""

    name: str
    dim: int

    @property
    def by_id(self) -> bool:
        """Whether `embed` takes the examples' ids instead of the examples, as a precomputed table does."""

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """Everything that changes the embeddings, and nothing else.

        The sha256 of the weights (or a hub revision), the version of the family's code, the prompt, pooling,
        preprocessing and precision. The store derives its keys from it. Reads files, but loads no model.
        """

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """Embed examples, in order. Equal inputs give equal rows, whatever else is in the batch."""


@dataclass(frozen=True)
class Rule:
    """One expectation about a table, in the vocabulary of Great Expectations.

    Attributes:
        type: The expectation's type in snake case, such as `expect_column_values_to_be_unique`.
        kwargs: Its arguments, such as `{"column": "id"}`.
        because: One sentence for a person that says what is wrong when the expectation fails.
    """

    type: str
    kwargs: Mapping[str, object]
    because: str


class Modality(Protocol):
    """How examples of one kind (texts, images, molecules) are read, identified and validated."""

    name: str
    column: str
    """The column of a corpus or a task that holds the example."""
    near_similarity: float | None
    """The Jaccard index of two near keys' character 5-grams from which their examples are near-duplicates.

    None if only equal keys count, because similar characters of a hash or a formula do not mean similar content.
    """

    @property
    def requirements(self) -> Sequence[str]:
        """Python distributions that a served model needs to read its examples, besides those of every student."""

    def content_id(self, example: Example) -> str:
        """Return the id of the content, 32 hexadecimal digits: equal content has equal ids."""

    def near_key(self, example: Example) -> str:
        """Return a key shared by examples that differ trivially (in case, spacing or punctuation)."""

    def split_key(self, example: Example) -> str | None:
        """Return a key, such as a scaffold, whose examples must be on one side of every split.

        It applies besides a table's own groups, except where a task declares every row its own group (`group: id`).
        None if the modality has no such key.
        """

    def coerce(self, value: object) -> Example:
        """Convert a user's value to an example: for an image, a path, bytes or an array.

        Raises:
            DataError: The value cannot be converted.
        """

    def derived(self, shown: Sequence[Sequence[Example]]) -> Mapping[str, Sequence[float]]:
        """Return the columns that the rules need and a table lacks, with one number per row.

        `shown` holds the examples of each row: one, or the two of a pair. It never raises: an example that
        cannot be read gets a number that a rule rejects.
        """

    def corpus_rules(self) -> Sequence[Rule]:
        """Return the rules for a corpus, over its own and the derived columns."""

    def task_rules(self, columns: Sequence[str]) -> Sequence[Rule]:
        """Return the rules for a task, whose examples are in `columns`."""


class Student(Protocol):
    """A small trainable encoder. `build` and `load` are its classmethods (see `students`)."""

    dim: int

    @property
    def module(self) -> nn.Module:
        """The module that the optimiser trains."""

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Convert examples to the features that `forward` takes."""

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return embeddings, `(batch, dim)`, not normalised."""

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and settings. The same student writes the same bytes."""


@dataclass(frozen=True)
class Prediction:
    """A head's distribution of one teacher's embedding, given the student's: a mixture of Gaussians.

    All tensors have the precision of the targets, and at least float32: see `widened`.

    Attributes:
        mean: `(batch, modes, teacher_dim)`.
        log_scale: Logarithm of the standard deviation, `(batch, modes, teacher_dim)`.
        log_weights: Logarithm of the modes' weights, `(batch, modes)`; the weights sum to one over the modes.
        factor: Factor of a low-rank covariance, `(modes, teacher_dim, rank)`: the covariance is the diagonal of
            squared scales plus the factor times its transpose.
        triangle: Unit lower-triangular factor of a full precision matrix, `(modes, teacher_dim, teacher_dim)`: the
            precision is the triangle, times the diagonal of inverse squared scales, times its transpose.
    """

    mean: Tensor
    log_scale: Tensor
    log_weights: Tensor
    factor: Tensor | None = None
    triangle: Tensor | None = None


class Heads(Protocol):
    """A module that predicts every teacher from the student; options are keyword arguments of its class.

    It can tell which of its parameters belong to which teacher, so that a later run can start from them.
    """

    @property
    def teachers(self) -> tuple[str, ...]:
        """The teachers' names, in order."""

    def own_rows(self, teacher: str) -> dict[str, Tensor]:
        """Return the rows of each parameter that belong to one teacher alone: bool, `(rows,)`, by name.

        The order of names is the same for every teacher. All teachers share a parameter that is not named.
        """

    def mean_rows(self, teacher: str) -> dict[str, Tensor]:
        """Return the part of `own_rows` that produces the teacher's means, without scales and mode weights."""

    def __call__(
        self, student: Tensor, masks: Mapping[str, Tensor] | None = None
    ) -> dict[str, Prediction]:
        """Predict each teacher from student embeddings `(batch, student_dim)`.

        `masks`, `(batch,)` per teacher, are false for rows that the teacher lacks: their predictions are finite
        but meaningless, and batch statistics leave them out. Without masks every row is present. In eval mode a
        row does not depend on the others in the batch.
        """


class DistillationLoss(Protocol):
    """One objective for one teacher, unreduced. Options are keyword arguments of the function."""

    def __call__(self, prediction: Prediction, target: Tensor, mask: Tensor) -> Tensor:
        """Return `(batch,)`; zero where `mask` (`(batch,)`, bool) is false.

        `target` is the teacher's standardised embeddings, `(batch, teacher_dim)`.
        """


class GeometryTerm(Protocol):
    """A relational objective: it compares similarities among the student's embeddings with the teachers'."""

    def __call__(
        self, student: Tensor, targets: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> Tensor:
        """Return `(batch,)` for `student`, `(batch, dim)`, and one target `(batch, teacher_dim)` per teacher."""
