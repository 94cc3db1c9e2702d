"""Baseline relational term (CompRess): the student matches the distribution of each example's similarities."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from polydistill.config.nodes import Factor, Limit
from polydistill.losses.relational import GEOMETRY
from polydistill.losses.relational._rows import mean_over_teachers, other_pairs, require_rows


@GEOMETRY.register("similarity-distribution")
class SimilarityDistribution(nn.Module):
    """The Kullback-Leibler divergence between each teacher's and the student's distributions of similarities.

    A distribution is the softmax of an example's cosines to the batch and to a queue of earlier examples. The queue
    is filled during training and is part of every checkpoint.

    Args:
        student_dim: Width of the student's embeddings.
        teacher_dims: Width of each teacher's embeddings, in order.
        queue: Number of earlier examples kept. 0: only the batch is used.
        temperature: Temperature of the softmax.

    References:
        Koohpayegani, Tejankar, Pirsiavash 2020, "CompRess: self-supervised learning by compressing
        representations", arXiv:2010.14713.
    """

    student_queue: Tensor
    present: Tensor
    place: Tensor

    def __init__(
        self,
        student_dim: int,
        teacher_dims: Sequence[int],
        *,
        queue: Limit = 1024,
        temperature: Factor = 0.04,
    ) -> None:
        super().__init__()
        self._size, self._temperature = queue, temperature
        self.register_buffer("student_queue", torch.zeros(queue, student_dim))
        for number, dim in enumerate(teacher_dims):
            self.register_buffer(f"queue_{number}", torch.zeros(queue, dim))
        self.register_buffer("present", torch.zeros(len(teacher_dims), queue, dtype=torch.bool))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def forward(
        self, student: Tensor, targets: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> Tensor:
        """Return each row's divergence, `(batch,)`; see `contracts.GeometryTerm`.

        Raises:
            ShapeError: A target or a mask has a different number of rows from `student`.
        """
        require_rows(student, targets, masks)
        own = self._logits(student, self.student_queue)
        terms, counted = [], []
        for number, (target, mask) in enumerate(zip(targets, masks, strict=True)):
            theirs = self._logits(target.to(student.dtype), self.get_buffer(f"queue_{number}"))
            known = torch.cat(
                [other_pairs(mask), mask[:, None] & self.present[number][None, :]], dim=1
            )
            terms.append(_divergence(theirs, own, known))
            counted.append(known.any(dim=-1))
        if self.training and self._size:
            self._remember(student, targets, masks)
        return mean_over_teachers(terms, counted)

    def _logits(self, values: Tensor, queue: Tensor) -> Tensor:
        """Return cosines to the batch and the queue, divided by the temperature: `(batch, batch + queue)`."""
        anchors = torch.cat([values, queue.to(values.dtype)])
        return normalize(values, dim=-1) @ normalize(anchors, dim=-1).T / self._temperature

    @torch.no_grad()
    def _remember(
        self, student: Tensor, targets: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> None:
        """Replace the oldest rows of the queue with the last rows of the batch."""
        rows = min(len(student), self._size)
        at = (self.place + torch.arange(rows, device=self.place.device)) % self._size
        self.student_queue[at] = student[-rows:].to(self.student_queue.dtype)
        for number, (target, mask) in enumerate(zip(targets, masks, strict=True)):
            queue = self.get_buffer(f"queue_{number}")
            queue[at] = target[-rows:].to(queue.dtype)
            self.present[number, at] = mask[-rows:]
        self.place.copy_((self.place + rows) % self._size)


def _divergence(theirs: Tensor, own: Tensor, known: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence, `(batch,)`, over `known` columns; zero if a row has none."""
    nothing = ~known.any(dim=-1, keepdim=True)
    open_ = known | nothing  # a softmax needs at least one column
    log_theirs, log_own = (
        logits.masked_fill(~open_, -torch.inf).log_softmax(dim=-1) for logits in (theirs, own)
    )
    difference = (log_theirs - log_own).masked_fill(~open_, 0.0)
    terms = (log_theirs.exp() * difference).sum(dim=-1)
    return torch.where(nothing[:, 0], torch.zeros_like(terms), terms)
