"""Which rows are trained on and which are held out, in what order, and what a batch holds."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from polydistill.contracts import Example
from polydistill.errors import DataError

Ints = NDArray[np.int64]


def seeded(seed: int, purpose: str) -> np.random.Generator:
    """Return the generator of one purpose: independent of all others, the same every time."""
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]))


def held_out_mask(groups: Sequence[str], share: float) -> NDArray[np.bool_]:
    """Say which rows are held out, `(n_rows,)`: by the hash of their group, never by their place.

    Examples:
        >>> held_out_mask(["a", "b", "a"], 1.0).tolist()
        [True, True, True]
    """
    return group_mask(groups, share, "held-out")


def require_both_sides(held_out: NDArray[np.bool_], share: float) -> None:
    """Refuse a corpus with nothing to train on, or with nothing held out.

    Raises:
        DataError: All rows, `(n_rows,)`, are on one side.
    """
    if held_out.all() or not held_out.any():
        raise DataError(
            f"corpus.held_out: {share} holds out {held_out.sum():,} of the corpus' {len(held_out):,} rows, by groups; "
            "some must be held out and some left to train on: set it between 0 and 1, or take more rows."
        )


def group_mask(groups: Sequence[str], share: float, purpose: str) -> NDArray[np.bool_]:
    """Say which rows are among a share of the groups, `(n_rows,)`; each purpose draws a share of its own."""
    limit = int(share * 2**64)
    hashes = [hashlib.sha256(f"{purpose} {group}".encode()).digest()[:8] for group in groups]
    return np.array([int.from_bytes(one, "big") < limit for one in hashes], dtype=np.bool_)


class Rows(Dataset[int]):
    """Row numbers; the collator knows what stands there."""

    def __init__(self, rows: Ints) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> int:
        return int(self._rows[place])


class EpochsSampler(Sampler[int]):
    """All epochs in one pass: in each, every example exactly once, in an order of its own.

    Args:
        n_examples: Of one epoch.
        epochs: How many.
        seed: Of the orders.
    """

    def __init__(self, n_examples: int, epochs: int, seed: int) -> None:
        self._n_examples, self._epochs, self._seed = n_examples, epochs, seed

    def __len__(self) -> int:
        return self._n_examples * self._epochs

    def __iter__(self) -> Iterator[int]:
        for epoch in range(self._epochs):
            order = seeded(self._seed, f"order of epoch {epoch}").permutation(self._n_examples)
            yield from order.tolist()


class Targets(Protocol):
    """Standardised embeddings of one teacher: a tensor, or what reads its rows from where they lie."""

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Return `(n, teacher_dim)` of row numbers, `(n,)`."""


class Batches:
    """Collates row numbers to features, targets and masks.

    Args:
        examples: The corpus.
        collate: The student's.
        targets: Standardised embeddings of all rows, by teacher.
        present: `(n_rows,)`, bool, by teacher.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        collate: Callable[[Sequence[Example]], dict[str, Tensor]],
        targets: Mapping[str, Targets],
        present: Mapping[str, Tensor],
    ) -> None:
        self._examples, self._collate = examples, collate
        self._targets, self._present = targets, present

    def __call__(self, rows: Sequence[int]) -> dict[str, Any]:
        """Return what `DistillationModel.forward` takes."""
        features = self._collate([self._examples[row] for row in rows])
        return {"features": features, **self.targets_of(rows)}

    def targets_of(self, rows: Sequence[int]) -> dict[str, dict[str, Tensor]]:
        """Return the `targets` and `masks` alone."""
        at = torch.tensor(rows)
        return {
            "targets": {name: values[at] for name, values in self._targets.items()},
            "masks": {name: values[at] for name, values in self._present.items()},
        }
