"""A training step as Trainer runs it, and the parts of it that benchmarks compare with the whole."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench._project import build_model, open_student, read_texts
from polydistill.config.nodes import Plugin
from polydistill.config.params import Params
from polydistill.contracts import Student
from polydistill.training import processes
from polydistill.training.dataset import Batches
from polydistill.training.trainer import make_optimizer


class Step:
    """A training step with the settings of `params.yaml`, on real texts with synthetic targets.

    Args:
        params: The parameters of the project.
        kind: The student.
        dims: The width of each teacher's embeddings, by name.
        n_batches: The number of different batches.
    """

    def __init__(self, params: Params, kind: Plugin, dims: dict[str, int], n_batches: int) -> None:
        self._training = params.modality("text").training
        texts = read_texts(params, n_batches * self._training.batch_size)
        self.student: Student = open_student(params, kind)
        self.model = build_model(params, self.student, dims)
        self._optimizer = make_optimizer(self.model, self._training)
        draw = torch.Generator().manual_seed(1)
        targets = {name: torch.randn(len(texts), dim, generator=draw) for name, dim in dims.items()}
        present = {name: torch.ones(len(texts), dtype=torch.bool) for name in dims}
        self._batches = Batches(texts, self.student.collate, targets, present)
        self._texts = texts
        self._gradient = torch.randn(self._training.batch_size, self.student.dim, generator=draw)

    def rows(self, number: int) -> Sequence[int]:
        """Return the rows of a batch."""
        size = self._training.batch_size
        start = number * size % (len(self._texts) - size + 1)
        return range(start, start + size)

    def whole(self, number: int, model: nn.Module | None = None) -> None:
        """Run a whole step: read a batch, forward, loss, backward, clip, and update all weights.

        In a process group, the step is that of this process's share; `model` is then the wrapped model.
        """
        rows = list(self.rows(number))
        if processes.count() > 1:
            rows = processes.share_of(rows, processes.rank(), processes.count())
        loss = (model or self.model)(**self._batches(rows))["loss"]
        loss.item()  # the guard reads every loss
        loss.backward()
        self._update(self.model)

    def student_alone(self, number: int) -> tuple[float, float]:
        """Run the student's part of a step, with a fixed gradient in place of the loss.

        Returns:
            The seconds of forward and backward, and of the whole part, which also reads, clips and updates.
        """
        started = time.perf_counter()
        features = self.student.collate([self._texts[row] for row in self.rows(number)])
        before = time.perf_counter()
        self.student.forward(features).backward(self._gradient)
        after = time.perf_counter()
        self._update(self.student.module)
        return after - before, time.perf_counter() - started

    def embed(self, number: int) -> Tensor:
        """Return the student's embeddings of a batch, `(batch, dim)`."""
        with torch.no_grad():
            return self.student.forward(
                self.student.collate([self._texts[row] for row in self.rows(number)])
            )

    def beside_the_student(self, number: int, embedded: Tensor) -> None:
        """Run a step without the student's part: from its embeddings to their gradient."""
        batch = self._batches.targets_of(self.rows(number))
        self.model.losses_of(embedded.clone().requires_grad_(), **batch)["loss"].backward()
        self._update(self.model.heads)

    def _update(self, module: nn.Module) -> None:
        nn.utils.clip_grad_norm_(module.parameters(), self._training.max_grad_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
