"""Teacher embeddings predicted from the student's, with their uncertainty and an out-of-distribution score."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Example, FloatArray
from polydistill.errors import DataError, ParamsError, ShapeError, StoreError, UnknownNameError
from polydistill.project.files import write_atomic
from polydistill.students import encode, load_student
from polydistill.training.calibration import Moments, mean_log_scale, predicted_moments
from polydistill.training.heads_bundle import load_matching_heads

SUFFIX = ".npz"


@dataclass(frozen=True)
class PredictionReport:
    """The result of `predict_teacher`.

    Attributes:
        teacher: The teacher whose embeddings are predicted.
        rows: Number of rows, one per example.
        dim: Width of the teacher's embeddings.
        scale: `predicted` if the heads predict a scale for each example; `residual` if all examples have the same
            scale, because the loss trains no scale.
        novelty: The median out-of-distribution score. None if the scale is `residual`.
        file: The file with `mean` and `std`, `(rows, dim)`, and, if available, the out-of-distribution
            scores `novelty`, `(rows,)`.
    """

    teacher: str
    rows: int
    dim: int
    scale: str
    novelty: float | None
    file: str


class PredictedEmbedding(NamedTuple):
    """A teacher's embeddings of some examples, predicted by the student's heads.

    Attributes:
        mean: The expected embeddings, `(n_examples, teacher_dim)`, in the teacher's own scale.
        std: The calibrated standard deviations, `(n_examples, teacher_dim)`. On inputs similar to the
            corpus, `mean ± 1.645 std` contains about 90 % of the values.
    """

    mean: FloatArray
    std: FloatArray


class TeacherPredictor:
    """Predicts teachers' embeddings from the student's, with the heads that were trained with the student.

    Args:
        heads: The folder of the heads.
        student: The folder of the student that computes the embeddings passed to `predict` and `novelty`.

    Raises:
        MissingDataError: The heads or the student are missing.
        DataError: The heads are damaged.
        StoreError: The heads were trained with another student.
    """

    def __init__(self, heads: Path, student: Path) -> None:
        self._bundle = load_matching_heads(heads, student)
        self.teachers = self._bundle.card.teachers
        self.scale = self._bundle.card.scale

    @property
    def scores_novelty(self) -> bool:
        """Whether the method `novelty` is available; it needs heads with a trained scale."""
        return self._bundle.card.novelty is not None

    def predict(self, embeddings: FloatArray, teacher: str) -> PredictedEmbedding:
        """Return a teacher's expected embeddings and their standard deviations.

        `coverage_90` in the distill stage's report is the measured share of values inside the 90 % interval. A
        mixture of several modes is reduced to one mean and one standard deviation.

        Args:
            embeddings: The student's embeddings, `(n, student_dim)`, not normalised.
            teacher: One of `teachers`.

        Raises:
            UnknownNameError: The heads do not predict this teacher.
            DataError: No held-out row had this teacher, so its scale could not be calibrated.
            ShapeError: The embeddings do not have the student's width.
        """
        self.require(teacher)
        mean, scale = self._moments(embeddings)[teacher]
        if self.scale == "residual":
            scale = np.broadcast_to(self._bundle.residual[teacher], mean.shape)
        scale = scale * np.float32(self._bundle.card.factors[teacher])
        standardiser = self._bundle.standardisers[teacher]
        mean, variance = standardiser.invert(mean), standardiser.invert_variance(scale**2)
        if (basis := self._bundle.bases.get(teacher)) is not None:
            components, lost = basis
            mean, variance = mean @ components, variance @ components**2 + lost
        return PredictedEmbedding(mean, np.sqrt(variance))

    def novelty(self, embeddings: FloatArray) -> NDArray[np.float64]:
        """Return out-of-distribution scores, `(n,)`. A higher score means that an input resembles the corpus less.

        The score is the logarithm of the predicted scale, averaged over all dimensions of all teachers. It
        equals the entropy of the prediction up to a constant. It is standardised with the mean and standard deviation
        on held-out rows, so 0 is a typical row of the corpus. Inputs score high if their embedding determines the
        teachers' embeddings poorly. Calibration does not change the score.

        Args:
            embeddings: The student's embeddings, `(n, student_dim)`, not normalised.

        Raises:
            ParamsError: The student was distilled with a loss that trains no scale.
            ShapeError: The embeddings do not have the student's width.
        """
        zero = self._bundle.card.novelty
        if zero is None:
            raise ParamsError(
                "Out-of-distribution scores need heads with a trained scale: distil with a likelihood, such as "
                "gaussian-nll, a loss_weight above 0, and held-out rows."
            )
        moments = self._moments(embeddings)
        return (mean_log_scale([scale for _, scale in moments.values()]) - zero.mean) / zero.std

    def require(self, teacher: str, identity: str | None = None) -> None:
        """Check that `predict` supports a teacher.

        Raises:
            UnknownNameError: See `predict`.
            DataError: See `predict`.
            StoreError: `identity` is given, and the head was trained for a teacher with another identity.
        """
        if teacher not in self.teachers:
            raise UnknownNameError("teacher of these heads", teacher, self.teachers)
        if teacher not in self._bundle.card.factors:
            raise DataError(
                f"Teacher {teacher!r} has no held-out rows for calibration: raise corpus.held_out and distil again."
            )
        trained_for = self._bundle.card.identities.get(teacher, identity)
        if identity is not None and identity != trained_for:
            raise StoreError(
                f"The embeddings of teacher {teacher!r} must be those that its head was trained for (identity "
                f"{str(trained_for)[:12]}), got {identity[:12]}: run the distill stage."
            )

    def _moments(self, embeddings: FloatArray) -> Moments:
        expected = self._bundle.card.student_dim
        if embeddings.ndim != 2 or embeddings.shape[1] != expected:
            raise ShapeError(
                f"`embeddings` must have shape (n, {expected}), got {embeddings.shape}."
            )
        return predicted_moments(self._bundle.module, embeddings.astype(np.float32, copy=False))


def predict_teacher(
    model: Path, teacher: str, examples: Sequence[Example], output: Path
) -> PredictionReport:
    """Write a teacher's predicted embeddings of some examples to an `.npz` file without pickles.

    Args:
        model: A folder with the sub-folders `student` and `heads`.
        teacher: The name of one of the heads' teachers.
        examples: The examples, in order.
        output: The file to write.

    Raises:
        ParamsError: `output` does not end in `.npz`.
        PolydistillError: See `TeacherPredictor`.
    """
    if output.suffix != SUFFIX:
        raise ParamsError(f"--output must end in {SUFFIX}, got {str(output)!r}.")
    predictor = TeacherPredictor(model / "heads", model / "student")
    predictor.require(teacher)
    embeddings = encode(load_student(model / "student"), examples)
    mean, std = predictor.predict(embeddings, teacher)
    arrays: dict[str, NDArray[np.floating]] = {"mean": mean, "std": std}
    if predictor.scores_novelty:
        arrays["novelty"] = predictor.novelty(embeddings)
    content = BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_atomic(output, content.getvalue())
    novelty = float(np.median(arrays["novelty"])) if len(arrays.get("novelty", ())) else None
    rows, dim = mean.shape
    return PredictionReport(teacher, rows, dim, predictor.scale, novelty, str(output))
