"""The paper's objective: the negative log-likelihood of a teacher's embedding given the student's."""

from torch import Tensor

from polydistill.contracts import Prediction
from polydistill.losses import LOSSES
from polydistill.losses._parts import log_densities, masked, mixture_nll, require_shapes


@LOSSES.register("gaussian-nll")
def gaussian_nll(prediction: Prediction, target: Tensor, mask: Tensor) -> Tensor:
    r"""Return the negative log-likelihood of a teacher's embedding given the student's.

    Its mean is an upper bound of the teacher's conditional entropy given the student.

    .. math:: \ell = -\tfrac{1}{d} \log \sum_m w_m(s)\, \mathcal{N}\bigl(t;\ \mu_m(s),\ \sigma_m^2(s)\bigr)

    Dividing by the teacher's width :math:`d` keeps wide teachers from dominating narrow ones. The
    mixture's weights sum to one over the modes.

    Args:
        prediction: See `contracts.Prediction`.
        target: The teacher's standardised embeddings, `(batch, teacher_dim)`.
        mask: False where the teacher has no embedding, `(batch,)`.

    Returns:
        `(batch,)`, in nats per teacher dimension; zero where `mask` is false.

    Raises:
        ShapeError: The shapes of the arguments do not match.

    References:
        Formont et al. 2025, arXiv:2510.18680; the density estimator is Pichler et al., arXiv:2202.06618.
    """
    require_shapes(prediction, target, mask)
    return masked(mixture_nll(prediction, log_densities(prediction, target)), mask)
