"""Calibration of the heads' scales: one factor per teacher, fitted to held-out rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polydistill.config.nodes import Node
from polydistill.contracts import DistillationLoss, FloatArray, Prediction
from polydistill.training.dataset import group_mask

COVERAGE = 0.9
HALF_WIDTH = NormalDist().inv_cdf(0.5 + COVERAGE / 2)
"""Half-width of a Gaussian's central 90 % interval, in standard deviations."""
LEAST_SCALE = 1e-6  # in standard deviations; errors of exactly zero would give a scale of zero
BATCH = 512
Moments = dict[str, tuple[FloatArray, FloatArray]]


class NoveltyScale(Node):
    """Mean and standard deviation of `mean_log_scale` over held-out rows.

    They standardise the out-of-distribution score, which files store under the name `novelty`.
    """

    mean: float
    std: float


@dataclass(frozen=True)
class Calibration:
    """Calibration of the heads' scales; a teacher without held-out rows is in none of the mappings.

    Attributes:
        residual: Each teacher's constant scale, `(teacher_dim,)`, if the loss trains no scale; otherwise empty.
        factors: The factor that multiplies each teacher's scale.
        novelty: Mean and standard deviation that standardise the out-of-distribution score. None if the scale is
            constant.
        coverage_before: Share of values inside their 90 % interval before calibration, on rows not used to fit.
        coverage_after: The same share after calibration.
    """

    residual: dict[str, FloatArray]
    factors: dict[str, float]
    novelty: NoveltyScale | None
    coverage_before: dict[str, float]
    coverage_after: dict[str, float]


def calibrate(
    moments: Moments,
    targets: Mapping[str, FloatArray],
    present: Mapping[str, NDArray[np.bool_]],
    groups: Sequence[str],
    *,
    scale_is_trained: bool,
) -> Calibration:
    """Fit each teacher's factor on one half of held-out rows, and measure coverage on the other.

    With the factor, the central 90 % Gaussian interval contains 90 % of the values. This is split conformal
    prediction with normalised residuals. The maximum-likelihood factor is the root mean squared residual; a few
    outliers dominate it, so its intervals would be too wide.

    Args:
        moments: Each teacher's predicted mean and standard deviation, each `(n, teacher_dim)`, standardised.
        targets: The teachers' standardised embeddings, `(n, teacher_dim)`.
        present: By teacher, `(n,)`: false where the teacher has no embedding; such rows are ignored.
        groups: The group of each row, `(n,)`. All rows of a group are in the same half, chosen by the group's hash.
        scale_is_trained: Whether the loss trains the scales. If not, a constant scale per dimension is fitted.

    References:
        Papadopoulos, Gammerman, Vovk 2008, "Normalized nonconformity measures for regression conformal
        prediction"; Lei et al. 2018, arXiv:1604.04173.
    """
    fitted = group_mask(groups, 0.5, "calibration")
    novelty = None
    if scale_is_trained and fitted.any():
        typical = mean_log_scale([scale[fitted] for _, scale in moments.values()])
        if (spread := float(typical.std())) > 0:
            novelty = NoveltyScale(mean=float(typical.mean()), std=spread)
    result = Calibration({}, {}, novelty, {}, {})
    for teacher, (mean, predicted) in moments.items():
        fit, test = fitted & present[teacher], ~fitted & present[teacher]
        if not fit.any():
            continue
        errors = targets[teacher] - mean
        scale = predicted
        if not scale_is_trained:
            result.residual[teacher] = residual_scale(errors[fit])
            scale = np.broadcast_to(result.residual[teacher], errors.shape)
        result.factors[teacher] = fit_factor(errors[fit] / scale[fit])
        if test.any():
            standardised = errors[test] / scale[test]
            result.coverage_before[teacher] = coverage(standardised)
            result.coverage_after[teacher] = coverage(standardised / result.factors[teacher])
    return result


def fit_factor(standardised: FloatArray) -> float:
    """Return the factor that gives 90 % coverage of residuals, which are in predicted standard deviations."""
    return max(float(np.quantile(np.abs(standardised), COVERAGE)) / HALF_WIDTH, LEAST_SCALE)


def coverage(standardised: FloatArray) -> float:
    """Return the share of residuals, in standard deviations, inside the central 90 % interval."""
    return float((np.abs(standardised) <= HALF_WIDTH).mean())


def residual_scale(errors: FloatArray) -> FloatArray:
    """Return the root of the mean squared error in each dimension, `(teacher_dim,)`."""
    root: FloatArray = np.sqrt((errors.astype(np.float64) ** 2).mean(axis=0)).astype(np.float32)
    return np.maximum(root, np.float32(LEAST_SCALE))


def mean_log_scale(scales: Sequence[FloatArray]) -> NDArray[np.float64]:
    """Return the mean log scale over all dimensions of all teachers, `(n,)`, in nats.

    Up to a constant this is the entropy of the predicted Gaussian, in nats per dimension: the uncertainty about the
    teachers' embeddings given the student's. Every dimension counts equally, so wide teachers weigh more.
    """
    total = np.sum([np.log(one, dtype=np.float64).sum(axis=1) for one in scales], axis=0)
    mean: NDArray[np.float64] = total / sum(one.shape[1] for one in scales)
    return mean


@torch.no_grad()
def predicted_moments(heads: nn.Module, embeddings: FloatArray) -> Moments:
    """Return each teacher's mean and standard deviation, `(n, teacher_dim)`, standardised.

    Args:
        heads: Map student embeddings to one prediction per teacher.
        embeddings: The student's embeddings, `(n, student_dim)`.
    """
    training, device = heads.training, next(heads.parameters()).device
    heads.eval()
    batches = [
        {name: mixture_moments(one) for name, one in heads(batch.to(device)).items()}
        for batch in torch.from_numpy(embeddings).split(BATCH)  # one empty batch if there is no row
    ]
    heads.train(training)

    def joined(teacher: str, moment: int) -> FloatArray:
        return torch.cat([batch[teacher][moment] for batch in batches]).cpu().numpy()

    return {teacher: (joined(teacher, 0), joined(teacher, 1)) for teacher in batches[0]}


def mixture_moments(prediction: Prediction) -> tuple[Tensor, Tensor]:
    """Return a mixture's mean and standard deviation, `(batch, teacher_dim)`.

    By the law of total variance, the variance is the mean of the modes' variances plus the variance of their means.
    Only the diagonal of a full covariance is used.
    """
    weights = prediction.log_weights.exp().unsqueeze(-1)  # (batch, modes, 1)
    mean = (weights * prediction.mean).sum(dim=1)
    spread = (prediction.mean - mean.unsqueeze(1)) ** 2
    variance = (weights * (_own_variances(prediction) + spread)).sum(dim=1)
    return mean, variance.sqrt()


def _own_variances(prediction: Prediction) -> Tensor:
    """Return each mode's variances, `(batch, modes, teacher_dim)`: the diagonal of its covariance."""
    scales = (2 * prediction.log_scale).exp()
    if prediction.factor is not None:
        return scales + prediction.factor.square().sum(dim=-1)
    if prediction.triangle is not None:
        identity = torch.eye(scales.shape[-1], dtype=scales.dtype, device=scales.device)
        inverse = torch.linalg.solve_triangular(
            prediction.triangle, identity, upper=False, unitriangular=True
        )
        return torch.einsum("bmj,mji->bmi", scales, inverse.square())
    return scales


def trains_scale(loss: DistillationLoss) -> bool:
    """Return whether the gradient of a loss trains the heads' scales."""
    generator = torch.Generator().manual_seed(0)
    mean, target = (torch.randn(4, 1, 3, generator=generator) for _ in range(2))
    log_scale = torch.zeros_like(mean, requires_grad=True)
    mean.requires_grad_()
    prediction = Prediction(mean, log_scale, torch.zeros(4, 1))
    loss(prediction, target[:, 0], torch.ones(4, dtype=torch.bool)).sum().backward()
    return log_scale.grad is not None and bool(log_scale.grad.any())
