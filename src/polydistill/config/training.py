"""Settings of the distillation method, its training and warm starts, and of the evaluation."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from polydistill.config.data import require_perturbations
from polydistill.config.nodes import (
    Count,
    Device,
    Epochs,
    Node,
    Plugin,
    Precision,
    Rate,
    Ratio,
    Seed,
    Several,
    Share,
    Steps,
    Threads,
    Weight,
)
from polydistill.errors import ParamsError

LEAST_STEPS, MOST_EPOCHS = 600, 40
"""On a small corpus, the number of epochs is raised to reach about `LEAST_STEPS` steps, up to `MOST_EPOCHS`."""


def enough_epochs(n_rows: int, batch_size: int, epochs: int) -> int:
    """Return `epochs`, or a greater number for a small corpus, which would otherwise give too few training steps.

    Examples:
        >>> enough_epochs(100_000, 256, 4), enough_epochs(20_000, 256, 4)
        (4, 7)
    """
    steps = max(1, n_rows // batch_size)
    return max(epochs, min(MOST_EPOCHS, LEAST_STEPS // steps))


class GuardParams(Node):
    """Thresholds of unstable training, at which the guard restores the last good state and halves the learning rate."""

    max_restarts: Annotated[int, Field(ge=0, le=100)] = 3
    """Restarts after which the run has diverged; it is then not published."""
    spike: Ratio = 20.0
    """Least distance of a loss above the median of earlier losses that counts as a spike, in interquartile ranges."""
    min_variance: Annotated[float, Field(ge=0)] = 1e-8
    """Least variance of the student's held-out embeddings."""
    max_mean_cosine: Annotated[float, Field(gt=0, le=1)] = 0.99
    """Greatest mean cosine similarity between held-out embeddings."""
    min_effective_rank: Annotated[float, Field(ge=1, le=65_536)] = 2.0
    """Least effective rank of the held-out embeddings."""


class TrainingParams(Node):
    """The training loop."""

    epochs: Epochs
    batch_size: Count = Field(json_schema_extra={"unit": "rows"})
    learning_rate: Rate
    """Learning rate of the student."""
    head_learning_rate: Rate = 0.001
    warmup_share: Share = 0.1
    """Share of the steps over which the learning rate rises."""
    head_warmup_steps: Steps = 0
    """Number of first steps that train only the heads."""
    weight_decay: Weight = 0.01
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    evals_per_epoch: Count = 1
    patience: Count = 3
    """Evaluations without a lower held-out objective after which training stops."""
    average_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay per step of the exponential moving average of the weights, which is evaluated and kept; null: no average."""
    perturb: Mapping[str, Share] = {}
    """Share of the texts that the student reads with a perturbation, such as `{typos: 0.15}`; targets are of the original."""
    guard: GuardParams = GuardParams()

    @model_validator(mode="after")
    def _perturbations_are_known(self) -> Self:
        require_perturbations(self.perturb)
        if sum(self.perturb.values()) > 1:
            raise ParamsError(
                f"The shares of training.perturb must be at most 1 in sum, got {dict(self.perturb)}."
            )
        return self

    def student_start(self, n_steps: int) -> int:
        """Return the index of the first step that trains the student, in a run of `n_steps` steps."""
        return min(self.head_warmup_steps, n_steps // 2)


class WarmStartParams(Node):
    """The version that a run starts from, and the settings that replace those of `training` in this run."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Checksum of an imported version's weights; null: train from scratch."""
    epochs: Annotated[int, Field(ge=0, le=10_000, json_schema_extra={"unit": "epochs"})] = 1
    """Epochs; 0: nothing is trained, so no teacher may be new."""
    head_steps: Steps = 30
    """Number of first steps that train only the heads if a teacher is new; at most half of all steps."""
    learning_rate: Rate = 0.05
    """Learning rate of the student."""
    head_learning_rate: Rate = 0.005
    """Learning rate of new teachers' heads, and of the means of known teachers' heads."""

    def applied_to(self, training: TrainingParams, *, new_teachers: bool) -> TrainingParams:
        """Return the training settings of a run that starts from an earlier version."""
        own = self.model_dump(include={"epochs", "learning_rate", "head_learning_rate"})
        own["head_warmup_steps"] = self.head_steps if new_teachers else 0
        return training.model_copy(update=own)


class EvaluationParams(Node):
    """The evaluation of frozen embeddings."""

    seeds: Annotated[Several[Seed], Field(min_length=1, max_length=1000)] = (0,)
    """Seeds of the probes."""
    models: Annotated[Several[str], Field(min_length=1)] | None = None
    """Scored models: student, undistilled, names of teachers and rivals; null: all of them."""
    rivals: Several[str] = ()
    """Computed rivals, which are fitted in the evaluation: tfidf-svd, bm25, teachers-pca."""


class CallParams(Node):
    """Arguments of the Python interface that correspond to settings outside a modality's method."""

    seed: Seed = 0
    threads: Threads | None = None
    device: Device = "auto"
    precision: Precision = "float32"
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.05


class MethodParams(Node):
    """The distillation method: all settings that training needs besides data and embeddings."""

    student: Plugin
    heads: Plugin = Plugin.model_validate({"name": "low-rank", "hidden": 512})
    loss: Plugin = Plugin(name="beta-nll")
    loss_weight: Weight = 1.0
    """Weight of the teachers' losses; 0: the relational term is the only objective."""
    geometry: Plugin | None = Plugin(name="consensus-similarity")
    geometry_weight: Weight = 3.0
    weighting: Plugin = Plugin(name="per-dimension")
    training: TrainingParams
    warm_start: WarmStartParams = WarmStartParams()

    @model_validator(mode="after")
    def _student_has_an_objective(self) -> Self:
        if self.loss_weight == 0 and (self.geometry is None or self.geometry_weight == 0):
            raise ParamsError(
                "loss_weight must be above 0, got 0: without a relational term nothing trains the student."
            )
        return self
