"""How a student is trained, resumed from an earlier version, and probed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from polydistill.config.nodes import Epochs, Positive, Rate, Ratio, Share, Steps, Tree

LEAST_STEPS, MOST_EPOCHS = 600, 40
"""A small corpus is seen more often, until the optimiser has made about as many steps."""


def enough_epochs(n_rows: int, batch_size: int, epochs: int) -> int:
    """Return `epochs`, or more of them for a corpus too small to learn from in so few.

    Examples:
        >>> enough_epochs(100_000, 256, 4), enough_epochs(20_000, 256, 4)
        (4, 7)
    """
    steps = max(1, n_rows // batch_size)
    return max(epochs, min(MOST_EPOCHS, LEAST_STEPS // steps))


class GuardParams(Tree):
    """When training is unstable; the guard then returns to the last good state and halves the learning rate."""

    max_restarts: Annotated[int, Field(ge=0)] = Field(
        3, description="After this number the run has diverged, and is not published."
    )
    spike: Ratio = Field(
        20.0,
        description="A loss this number of interquartile ranges above the median of those before it.",
    )
    min_variance: Annotated[float, Field(ge=0)] = Field(
        1e-8, description="Least variance of the student's held-out embeddings."
    )
    max_mean_cosine: Annotated[float, Field(gt=0, le=1)] = Field(
        0.99, description="Greatest mean cosine similarity between held-out embeddings."
    )
    min_effective_rank: Annotated[float, Field(ge=1)] = Field(
        2.0, description="Least effective rank of the held-out embeddings."
    )


class TrainingParams(Tree):
    """The training loop."""

    epochs: Epochs
    batch_size: Positive = Field(json_schema_extra={"unit": "rows"})
    learning_rate: Rate = Field(description="Of the student.")
    head_learning_rate: Rate = 0.001
    warmup_share: Share = Field(
        0.1, description="Share of the steps over which the learning rate rises."
    )
    head_warmup_steps: Steps = Field(0, description="First steps, in which only the heads learn.")
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    evals_per_epoch: Positive = 1
    patience: Positive = Field(
        3, description="Stop after this number of evaluations without a better held-out loss."
    )
    guard: GuardParams = GuardParams()

    def student_start(self, n_steps: int) -> int:
        """Return the step, of `n_steps`, at which the student begins to learn."""
        return min(self.head_warmup_steps, n_steps // 2)


class WarmStartParams(Tree):
    """What a run continues from, and the numbers that then replace those of `training`."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="Of an imported version; null: train from scratch."
    )
    epochs: Annotated[int, Field(ge=0, json_schema_extra={"unit": "epochs"})] = Field(
        1, description="0: nothing is trained, so no teacher may be new."
    )
    head_steps: Steps = Field(
        30, description="First steps, at most half of all: the student waits for the new heads."
    )
    learning_rate: Rate = Field(0.05, description="Of the student.")
    head_learning_rate: Rate = Field(
        0.005, description="Of the heads of new teachers, and of the means of known ones."
    )

    def in_place_of(self, training: TrainingParams, *, new_teachers: bool) -> TrainingParams:
        """Return the numbers of a run that continues from another."""
        own = self.model_dump(include={"epochs", "learning_rate", "head_learning_rate"})
        own["head_warmup_steps"] = self.head_steps if new_teachers else 0
        return training.model_copy(update=own)


class EvaluationParams(Tree):
    """How frozen embeddings are probed."""

    seeds: tuple[int, ...] = Field((0,), min_length=1, description="Of the probes.")
    models: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Of student, undistilled and the teachers, those that are scored; null: all.",
    )
