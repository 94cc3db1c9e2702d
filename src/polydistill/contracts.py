"""The interfaces of teachers, modalities, students, heads, losses and trackers, and the types that they exchange."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

FloatArray = NDArray[np.float32]
Example = str | bytes
"""One input: a text, a molecule's SMILES, or an image's bytes."""


class Progress(Protocol):
    """A callback that a long operation calls after each unit of work."""

    def __call__(self, what: str, done: int, total: int, **figures: float) -> None:
        """Report that `done` of `total` units of `what` are finished; `figures` are shown beside them."""


def silent(what: str, done: int, total: int, **figures: float) -> None:
    """Do nothing. This is the default progress callback of every operation."""


class Tracker:
    """Records a run while it is in progress. This base class records nothing.

    A tracker may be slow or unreachable, but it must never make the run fail.
    """

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record the run's parameters; nested mappings are allowed."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record `metrics` after optimiser step `step`. A metric name may contain slashes: `held_out/minilm-l6`."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags that are known at the end of the run, such as the student's sha256."""

    def close(self) -> None:
        """Write pending records and close the tracker."""


def widened(tensor: Tensor) -> Tensor:
    """Convert a half-precision tensor to float32; return any other tensor unchanged.

    Sums, exponentials and factorisations need float32.

    Examples:
        >>> import torch
        >>> widened(torch.zeros(2, dtype=torch.bfloat16)).dtype, widened(torch.zeros(2).double()).dtype
        (torch.float32, torch.float64)
    """
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def without_autocast(tensor: Tensor) -> torch.autocast:
    """Return a context that disables autocast on the device of `tensor`, so matrix products keep the inputs' dtype."""
    return torch.autocast(tensor.device.type, enabled=False)


@dataclass(frozen=True)
class Embeddings:
    """A teacher's embeddings of some examples.

    Attributes:
        values: `(n_examples, dim)`, float32; a missing row is all zeros.
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
        """Whether `embed` takes the examples' ids instead of the examples; true for a precomputed table."""

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """Everything that changes the embeddings, and nothing else.

        It holds the sha256 of the weights (or a hub revision), the version of the family's code, the prompt, pooling,
        preprocessing and precision. The store derives its keys from the identity. Computing it reads files, but loads
        no model.
        """

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """Embed examples, in order. Equal inputs give equal rows, regardless of the rest of the batch."""


@runtime_checkable
class ReducedPrecision(Protocol):
    """What a teacher has that can compute in less than float32, after a test that its embeddings stay nearly the same.

    Attributes:
        fidelity: Minimum cosine similarity of an embedding to that in float32.
    """

    fidelity: float

    def in_float32(self) -> Teacher | None:
        """Return the same teacher in float32; None if it computes in float32 already."""


@runtime_checkable
class OnnxExportable(Protocol):
    """What a student has that can be exported to ONNX."""

    @property
    def onnx_preprocessing(self) -> Mapping[str, object]:
        """How an example becomes the inputs of `onnx_module`, in words and numbers for `onnx.json`."""

    def onnx_module(self) -> nn.Module:
        """Return a module from padded inputs to embeddings of length one, `(batch, dim)`."""

    def int8_onnx_module(self) -> nn.Module | None:
        """Return the same module with 8-bit weights; None: ONNX Runtime quantises the weights of `onnx_module`."""

    def onnx_inputs(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Return the inputs of the module by the names of its arguments; the second axis of tokens is padded."""

    def onnx_tokenizer(self) -> str | None:
        """Return the content of `tokenizer.json`; None for a student that reads no tokens."""


@dataclass(frozen=True)
class Rule:
    """One expectation about a table, in the vocabulary of Great Expectations.

    Attributes:
        type: The expectation's type in snake case, such as `expect_column_values_to_be_unique`.
        kwargs: Its arguments, such as `{"column": "id"}`.
        because: One sentence that explains to a person what is wrong when the expectation fails.
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
    """Minimum Jaccard index of the character 5-grams of two near keys, for a split to keep both examples on one side.

    None: only examples with equal near keys are kept together. This is for keys such as a hash or a formula, in
    which similar characters do not mean similar content.
    """

    @property
    def requirements(self) -> Sequence[str]:
        """Python distributions that a served model needs to read examples, besides those that every student needs."""

    def content_id(self, example: Example) -> str:
        """Return the id of the content, 32 hexadecimal digits. Equal contents have equal ids."""

    def near_key(self, example: Example) -> str:
        """Return a key shared by examples that differ trivially (in case, spacing or punctuation)."""

    def split_key(self, example: Example) -> str | None:
        """Return a key, such as a scaffold; examples with the same key must be on the same side of every split.

        The key applies in addition to a table's own groups, unless a task states that each row is its own group
        (`group: id`). None if the modality has no such key.
        """

    def coerce(self, value: object) -> Example:
        """Convert a user's value to an example: for an image, a path, bytes or an array.

        Raises:
            DataError: The value cannot be converted.
        """

    def canonical(self, example: Example) -> Example:
        """Return the form of a stored example that teachers and students read, with the same content id.

        Unlike `coerce`, this is cheap, and accepts an example that the rules reject.

        Raises:
            DataError: The example has no such form: a text is not UTF-8.
        """

    def derived(self, shown: Sequence[Sequence[Example]]) -> Mapping[str, Sequence[float]]:
        """Return computed columns, which the rules need in addition to a table's columns, with one number per row.

        `shown` holds the examples of each row: one, or the two of a pair. This method never raises: an example that
        cannot be read gets a number that a rule rejects.
        """

    def corpus_rules(self) -> Sequence[Rule]:
        """Return the rules for a corpus. They use the columns of the corpus and the `derived` columns."""

    def task_rules(self, columns: Sequence[str]) -> Sequence[Rule]:
        """Return the rules for a task, whose examples are in `columns`."""


class Student(Protocol):
    """A small trainable encoder. `build` and `load` are its classmethods (see `students`)."""

    dim: int

    @property
    def module(self) -> nn.Module:
        """The module that the optimiser trains."""

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Convert examples to the input features of `forward`."""

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return embeddings, `(batch, dim)`, not normalised."""

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and settings. The bytes depend only on the student."""


@dataclass(frozen=True)
class Prediction:
    """A head's output for one teacher: a mixture of Gaussians over its embedding, given the student's embedding.

    All tensors have the precision in which the head computes, but at least float32 (see `widened`).

    Attributes:
        mean: `(batch, modes, teacher_dim)`.
        log_scale: Logarithm of the standard deviation, `(batch, modes, teacher_dim)`.
        log_weights: Logarithm of the modes' weights, `(batch, modes)`; the weights sum to one over the modes.
        factor: Factor of a low-rank covariance, `(modes, teacher_dim, rank)`. The covariance is the diagonal matrix of
            squared scales plus the factor times its transpose.
        triangle: Unit lower-triangular factor of a full precision matrix, `(modes, teacher_dim, teacher_dim)`. The
            precision matrix is the factor, times the diagonal matrix of inverse squared scales, times the factor's
            transpose.
    """

    mean: Tensor
    log_scale: Tensor
    log_weights: Tensor
    factor: Tensor | None = None
    triangle: Tensor | None = None


class Heads(Protocol):
    """A module that predicts every teacher's embedding from the student's; options are keyword arguments of its class.

    The methods `own_rows` and `mean_rows` map parameters to teachers, so that a later run can reuse the parameters of
    the teachers that it keeps.
    """

    by_batch: ClassVar[bool]
    """Whether a prediction in training depends on the other rows of the batch, as with batch normalisation."""

    @property
    def teachers(self) -> tuple[str, ...]:
        """The teachers' names, in order."""

    def own_rows(self, teacher: str) -> dict[str, Tensor]:
        """Return a bool mask `(rows,)` per parameter name: the rows that belong only to this teacher.

        The order of the names is the same for every teacher. A parameter that is not named is shared by all teachers.
        """

    def mean_rows(self, teacher: str) -> dict[str, Tensor]:
        """Return the part of `own_rows` that produces the teacher's means: not the scales, not the mode weights."""

    def __call__(
        self, student: Tensor, masks: Mapping[str, Tensor] | None = None
    ) -> dict[str, Prediction]:
        """Predict each teacher's embeddings from student embeddings `(batch, student_dim)`.

        `masks`, `(batch,)` per teacher, are false for rows without an embedding of the teacher. The predictions of
        these rows are finite but meaningless, and batch statistics exclude them. Without masks, every row is
        present. In eval mode, the prediction of a row does not depend on the other rows of the batch.
        """


class DistillationLoss(Protocol):
    """A loss for one teacher, without reduction. Options are keyword arguments of the function."""

    def __call__(self, prediction: Prediction, target: Tensor, mask: Tensor) -> Tensor:
        """Return the loss of each row, `(batch,)`; zero where `mask` (`(batch,)`, bool) is false.

        `target` is the teacher's standardised embeddings, `(batch, teacher_dim)`.
        """


class GeometryTerm(Protocol):
    """A loss that compares the similarities among the student's embeddings with those among the teachers'."""

    def __call__(
        self, student: Tensor, targets: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> Tensor:
        """Return one loss per example, `(batch,)`.

        `student` is `(batch, dim)`. Each teacher has a target, `(batch, teacher_dim)`, and a mask, `(batch,)`.
        """


@runtime_checkable
class FittedGeometry(Protocol):
    """What a relational term has that is fitted to examples before training."""

    def fit(self, student: Tensor, targets: Sequence[Tensor], masks: Sequence[Tensor]) -> None:
        """Fit the term to the untrained student's embeddings and the teachers'; see `GeometryTerm`."""
