"""The student, heads, losses and relational term as one module for the trainer."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from polydistill import contracts
from polydistill.training import processes
from polydistill.training.weighting import Weighting


class DistillationModel(nn.Module):
    """Computes the weighted mean losses of the teachers plus the weighted relational term.

    The teachers are not part of the module: their embeddings are part of the batch and are in no checkpoint. Under
    autocast the student and the heads compute in half precision; losses, geometry and weighting use float32.

    Args:
        student: The student's module.
        heads: A module that implements `contracts.Heads`.
        loss: An unreduced loss, applied to each teacher.
        geometry: A relational term, or None.
        geometry_weight: Weight of the relational term.
        weighting: The teacher weighting. None: all teachers have the same weight.
        loss_weight: Weight of the teachers' losses. 0: only the relational term trains the student, and the heads
            are not trained.
    """

    def __init__(  # noqa: PLR0913 - the module's parts
        self,
        student: contracts.Student,
        heads: nn.Module,
        loss: contracts.DistillationLoss,
        geometry: contracts.GeometryTerm | None,
        geometry_weight: float,
        weighting: Weighting | None = None,
        *,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.student, self.heads = student.module, heads
        self._embed: Callable[[Mapping[str, Tensor]], Tensor] = student.forward
        self.weighting = weighting or Weighting(0)
        self.loss, self.geometry, self._weight = loss, geometry, geometry_weight
        self._loss_weight = loss_weight
        self._by_batch = cast("contracts.Heads", heads).by_batch

    def forward(
        self,
        features: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        real: Tensor | None = None,
    ) -> dict[str, Any]:
        """Return `loss`, a scalar; `sums` and `counts`, each `(n_teachers,)`; `geometry`; `embedded`.

        In training on several processes, each of which has a share of the batch, all but `embedded` are those of the
        whole batch, and the mean of the processes' gradients is the gradient of the whole batch's loss. `real`,
        `(batch,)`, is false for rows that only fill a share.
        """
        return self.losses_of(self._embed(features), targets, masks, real)

    def rescaled(
        self, targets: Mapping[str, Tensor], masks: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the embeddings that the heads should predict, `(batch, teacher_dim)`, by teacher."""
        return {
            name: self.weighting.rescale(teacher_index, target, masks[name])
            for teacher_index, (name, target) in enumerate(targets.items())
        }

    def losses_of(
        self,
        embedded: Tensor,
        targets: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        real: Tensor | None = None,
    ) -> dict[str, Any]:
        """Return the result of `forward`, given the student's embeddings, `(batch, dim)`."""
        everyone = processes.gathered if self.training else _unchanged
        in_shares = self.training and not self._by_batch
        first = processes.rank() * len(embedded) if in_shares else 0
        all_masks = {name: everyone(mask) for name, mask in masks.items()}
        if self._by_batch:
            embedded, masks = everyone(embedded), all_masks
        predictions: Mapping[str, contracts.Prediction] = self.heads(embedded, masks)
        own = slice(first, first + len(embedded))
        embedded = contracts.widened(embedded)
        with contracts.without_autocast(embedded):
            all_targets = {name: everyone(target) for name, target in targets.items()}
            targets = self.rescaled(all_targets, all_masks)
            total = torch.stack(
                [self.loss(predictions[n], t[own], masks[n]).sum() for n, t in targets.items()]
            )
            total = processes.summed(total) if in_shares else total
            count = torch.stack([all_masks[name].sum() for name in targets])
            nats = total / count.clamp(min=1)
            geometry = nats.new_zeros(())
            if self.geometry is not None and self._weight > 0:
                rows = everyone(embedded) if in_shares else embedded
                compared, known = list(targets.values()), torch.stack(list(all_masks.values()))
                if real is not None and processes.count() > 1:
                    kept = everyone(real)
                    rows, known = rows[kept], known[:, kept]
                    compared = [target[kept] for target in compared]
                of_rows = self.geometry(rows, compared, list(known))
                known = known.any(dim=0).sum()  # rows of any teacher
                geometry = of_rows.sum() / known.clamp(min=1)
            loss = self._loss_weight * self.weighting(nats, count > 0) + self._weight * geometry
            return {
                "loss": loss,
                "sums": total.detach(),
                "counts": count.detach(),
                "geometry": geometry.detach(),
                "embedded": embedded.detach(),
            }


def _unchanged(rows: Tensor) -> Tensor:
    return rows
