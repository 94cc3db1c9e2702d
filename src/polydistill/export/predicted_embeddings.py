"""What a teacher would say: its embedding, how sure that is, and how strange the input, from the student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Example, FloatArray
from polydistill.errors import (
    DataError,
    ParamsError,
    ShapeError,
    StoreError,
    UnknownNameError,
)
from polydistill.export.bundle import load_matching_heads
from polydistill.project.files import write_atomic
from polydistill.students import encode, load_student
from polydistill.training.calibration import Moments, mean_log_scale, predicted_moments
from polydistill.training.heads_bundle import MEAN, RESIDUAL, ROTATION, STD, HeadsBundle
from polydistill.training.standardise import Standardiser

SUFFIX = ".npz"


@dataclass(frozen=True)
class PredictionReport:
    """What `predict_teacher` wrote.

    Attributes:
        teacher: Whose embeddings are predicted.
        rows: One an example.
        dim: Of the teacher.
        scale: `predicted` for each example, or `residual`: the same for all, as the loss trains no scale.
        novelty: The median of the examples' novelty; none where the scale is `residual`.
        file: Holds `mean` and `std`, `(rows, dim)`, and `novelty`, `(rows,)`, unless that is none.
    """

    teacher: str
    rows: int
    dim: int
    scale: str
    novelty: float | None
    file: str


class TeacherPredictor:
    """Predicts teachers' embeddings from the student's, through the heads that were trained with it.

    Args:
        bundle: The heads; `load_predictor` reads them from a folder.
    """

    def __init__(self, bundle: HeadsBundle) -> None:
        self._bundle = bundle
        self.teachers = bundle.card.teachers
        self.scale = bundle.card.scale

    @property
    def scores_novelty(self) -> bool:
        """Whether `novelty` can be asked for."""
        return self._bundle.card.novelty is not None

    def predict(self, embeddings: FloatArray, teacher: str) -> tuple[FloatArray, FloatArray]:
        """Return a teacher's expected embeddings and their standard deviations, `(n, teacher_dim)`.

        Both are in the teacher's own scale. `mean ± 1.645 std` holds 90 % of the values on inputs like the
        corpus: `coverage_90` of the distill stage's report says how nearly. Several modes become one mean
        and one standard deviation.

        Args:
            embeddings: The student's, `(n, student_dim)`, not normalised.
            teacher: One of `teachers`.

        Raises:
            UnknownNameError: The heads know no such teacher.
            DataError: No held-out row had this teacher, so its scale could not be calibrated.
            ShapeError: The embeddings are not as wide as the student's.
        """
        self.require(teacher)
        mean, scale = self._moments(embeddings)[teacher]
        own = self._bundle.statistics[teacher]
        if self.scale == "residual":
            scale = np.broadcast_to(own[RESIDUAL], mean.shape)
        scale = scale * np.float32(self._bundle.card.factors[teacher])
        standardiser = Standardiser(own[MEAN], own[STD], own.get(ROTATION))
        return standardiser.invert(mean), np.sqrt(standardiser.invert_variance(scale**2))

    def novelty(self, embeddings: FloatArray) -> NDArray[np.float64]:
        """Return how unlike the corpus the inputs are, `(n,)`: higher is stranger.

        The logarithm of the predicted scale, averaged over all dimensions of all teachers (the entropy of
        what the heads predict, up to a constant), in standard deviations from its mean on held-out rows: 0
        is a typical row of the corpus. The heads know an input as strange when its embedding says little
        of the teachers'. Calibration cancels out.

        Args:
            embeddings: The student's, `(n, student_dim)`, not normalised.

        Raises:
            ParamsError: The student was distilled with a loss that trains no scale.
            ShapeError: The embeddings are not as wide as the student's.
        """
        zero = self._bundle.card.novelty
        if zero is None:
            raise ParamsError(
                "These heads have no scale to score novelty by: distil with a likelihood, such as "
                "gaussian-nll or beta-nll, a loss_weight above 0, and held-out rows."
            )
        moments = self._moments(embeddings)
        return (mean_log_scale([scale for _, scale in moments.values()]) - zero.mean) / zero.std

    def require(self, teacher: str, identity: str | None = None) -> None:
        """Refuse a teacher that `predict` cannot answer for; see there.

        Raises:
            StoreError: `identity`, where it is given, is not that of the teacher that the head was trained for.
        """
        if teacher not in self.teachers:
            raise UnknownNameError("teacher of these heads", teacher, self.teachers)
        if teacher not in self._bundle.card.factors:
            raise DataError(
                f"Teacher {teacher!r} has no held-out rows to calibrate its scale by: raise "
                "corpus.held_out and distil again."
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


def load_predictor(heads: Path, student: Path) -> TeacherPredictor:
    """Load the heads, and make sure that they belong to a student.

    Args:
        heads: The folder of the heads.
        student: The folder of the student whose embeddings will be given.

    Raises:
        MissingDataError: A folder holds no heads, or no student.
        DataError: The heads are damaged.
        StoreError: The heads were trained with another student.
    """
    return TeacherPredictor(load_matching_heads(heads, student))


def predict_teacher(
    model: Path, teacher: str, examples: Sequence[Example], output: Path
) -> PredictionReport:
    """Write a teacher's predicted embeddings of some examples to an `.npz`; nothing in it is pickled.

    Args:
        model: A folder that holds `student` and `heads`.
        teacher: One that the heads know.
        examples: In order.
        output: The file.

    Raises:
        ParamsError: `output` does not end in `.npz`.
        PolydistillError: See `load_predictor` and `TeacherPredictor.predict`.
    """
    if output.suffix != SUFFIX:
        raise ParamsError(f"--output must end in {SUFFIX}, got {str(output)!r}.")
    predictor = load_predictor(model / "heads", model / "student")
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
    return PredictionReport(
        teacher, len(mean), mean.shape[1], predictor.scale, novelty, str(output)
    )
