"""A baseline: each example's similarities to many others, as a distribution that the student copies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from polydistill.losses.relational import GEOMETRY
from polydistill.losses.relational._rows import mean_over_teachers, other_pairs, require_rows


@GEOMETRY.register("similarity-distribution")
class SimilarityDistribution(nn.Module):
    """The divergence between softmaxes of cosines to the batch and to a queue of earlier examples.

    The queue is filled while the model trains and is in every checkpoint.

    Args:
        student_dim: Width of the student's embeddings.
        teacher_dims: Width of each teacher's, in order.
        queue: How many earlier examples are kept; 0: the batch alone.
        temperature: Of the softmax.

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
        queue: int = 1024,
        temperature: float = 0.04,
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
        """Return `(batch,)`: see `contracts.GeometryTerm`.

        Raises:
            ShapeError: A teacher's rows are not the student's.
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
        """Return cosines to the batch and the queue, `(batch, batch + queue)`, over the temperature."""
        anchors = torch.cat([values, queue.to(values.dtype)])
        return normalize(values, dim=-1) @ normalize(anchors, dim=-1).T / self._temperature

    @torch.no_grad()
    def _remember(
        self, student: Tensor, targets: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> None:
        """Put the newest rows in place of the oldest."""
        rows = min(len(student), self._size)
        at = (int(self.place) + torch.arange(rows, device=self.place.device)) % self._size
        self.student_queue[at] = student[-rows:].to(self.student_queue.dtype)
        for number, (target, mask) in enumerate(zip(targets, masks, strict=True)):
            queue = self.get_buffer(f"queue_{number}")
            queue[at] = target[-rows:].to(queue.dtype)
            self.present[number, at] = mask[-rows:]
        self.place.fill_((int(self.place) + rows) % self._size)


def _divergence(theirs: Tensor, own: Tensor, known: Tensor) -> Tensor:
    """Return `(batch,)`: Kullback and Leibler's, over the columns where `known`; zero where there are none."""
    nothing = ~known.any(dim=-1, keepdim=True)
    open_ = known | nothing  # a row without anchors would be a softmax of nothing
    log_theirs, log_own = (
        logits.masked_fill(~open_, -torch.inf).log_softmax(dim=-1) for logits in (theirs, own)
    )
    difference = (log_theirs - log_own).masked_fill(~open_, 0.0)
    terms = (log_theirs.exp() * difference).sum(dim=-1)
    return torch.where(nothing[:, 0], torch.zeros_like(terms), terms)
