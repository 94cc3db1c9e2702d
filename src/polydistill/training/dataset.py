"""Training and held-out rows, their order, and the collation of batches."""

import hashlib
import math
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from polydistill.contracts import Example
from polydistill.data.columns import Column
from polydistill.data.perturbations import perturb_share
from polydistill.errors import DataError
from polydistill.training.standardise import StandardisedRows

WINDOW, BLOCK = 2**20, 4_096
"""The numbers of examples of a window and of a block of `EpochsSampler`."""
DRAWN = 65_536
"""The number of indices that become Python numbers at once."""
AHEAD = 2
"""The number of batches that are made before the model needs them."""
T = TypeVar("T")
Targets = Tensor | StandardisedRows
"""Standardised embeddings of one teacher, `(n_rows, teacher_dim)`, in memory or on disk."""


def seeded(seed: int, purpose: str) -> np.random.Generator:
    """Return a reproducible random generator for one purpose, independent of those for other purposes."""
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]))


def held_out_mask(groups: Sequence[str], share: float) -> NDArray[np.bool_]:
    """Return a mask of the held-out rows, `(n_rows,)`, chosen by the hash of their group.

    Raises:
        DataError: All rows or no rows are held out.
    """
    held_out = group_mask(groups, share, "held-out")
    if held_out.all() or not held_out.any():
        raise DataError(
            f"corpus.held_out: {share} holds out {held_out.sum():,} of the corpus' {len(held_out):,} rows, by groups; "
            "some must be held out and some left to train on: set it between 0 and 1, or take more rows."
        )
    return held_out


def group_mask(groups: Sequence[str], share: float, purpose: str) -> NDArray[np.bool_]:
    """Return a mask, `(n_rows,)`, of the rows in a share of the groups, chosen separately for each purpose."""
    limit = int(share * 2**64)
    hashes = (hashlib.sha256(f"{purpose} {group}".encode()).digest()[:8] for group in groups)
    return np.fromiter((int.from_bytes(one, "big") < limit for one in hashes), dtype=np.bool_)


class RowNumbers:
    """The numbers of some rows, without a Python object per row. The index `~i` gives `~` of the row number at `i`."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> int:
        return int(self._rows[index]) if index >= 0 else ~int(self._rows[~index])


class EpochsSampler(Sampler[int]):
    """Samples all epochs in one pass; each epoch contains every example once, in a new random order.

    The order is uniformly random if there are at most `WINDOW` examples. Of more examples, blocks of `BLOCK` consecutive
    ones are put in a random order, and the examples of each window of blocks are shuffled. So memory does not depend on
    the number of examples, and an epoch reads every part of a file during one window only.

    Args:
        n_examples: Number of examples per epoch.
        epochs: Number of epochs.
        seed: Seed of the random orders.
    """

    def __init__(self, n_examples: int, epochs: int, seed: int) -> None:
        self._n_examples, self._epochs, self._seed = n_examples, epochs, seed

    def __len__(self) -> int:
        return self._n_examples * self._epochs

    def __iter__(self) -> Iterator[int]:
        for epoch in range(self._epochs):
            generator = seeded(self._seed, f"order of epoch {epoch}")
            for window in self._windows(generator):
                for start in range(0, len(window), DRAWN):
                    yield from window[start : start + DRAWN].tolist()

    def _windows(self, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """Yield the examples of one epoch, in order."""
        if self._n_examples <= WINDOW:
            yield generator.permutation(self._n_examples)
            return
        blocks = generator.permutation(math.ceil(self._n_examples / BLOCK))
        for start in range(0, len(blocks), WINDOW // BLOCK):
            first = blocks[start : start + WINDOW // BLOCK, None] * BLOCK
            rows = (first + np.arange(BLOCK)).ravel()
            yield generator.permutation(rows[rows < self._n_examples])


def prefetched(items: Iterator[T]) -> Generator[T]:
    """Yield the items in order; a thread computes the next ones meanwhile, at most `AHEAD`. `close` ends the thread.

    Examples:
        >>> list(prefetched(iter("abc")))
        ['a', 'b', 'c']
    """
    pool = ThreadPoolExecutor(1)
    try:
        ahead = deque(pool.submit(list, islice(items, 1)) for _ in range(AHEAD))
        while found := ahead.popleft().result():
            ahead.append(pool.submit(list, islice(items, 1)))
            yield found[0]
    finally:
        pool.shutdown(cancel_futures=True)


class Batches:
    """Collates the rows with given numbers into features, targets and masks.

    Args:
        examples: The corpus.
        collate: The student's method `collate`.
        targets: Standardised embeddings of all rows, by teacher.
        present: By teacher, `(n_rows,)`, bool: false where the teacher has no embedding.
        perturb: See `config.training.TrainingParams`.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        collate: Callable[[Sequence[Example]], dict[str, Tensor]],
        targets: Mapping[str, Targets],
        present: Mapping[str, Tensor],
        perturb: Mapping[str, float] | None = None,
    ) -> None:
        self._examples, self._collate = examples, collate
        self._targets, self._present = targets, present
        self._perturb = dict(perturb or {})

    def __call__(self, rows: Sequence[int]) -> dict[str, Any]:
        """Return the arguments of `DistillationModel.forward`; the number `~row` stands for no row and is not `real`."""
        return self._collated(rows, self._of(rows))

    def perturbed(self, rows: Sequence[int]) -> dict[str, Any]:
        """Return the same for training, in which a share of the texts is perturbed; their targets are not."""
        examples = self._of(rows)
        if self._perturb:
            examples = [perturb_share(self._perturb, one) for one in examples]
        return self._collated(rows, examples)

    def _of(self, rows: Sequence[int]) -> Sequence[Example]:
        at = [max(row, ~row) for row in rows]
        given = self._examples
        return given.take(at) if isinstance(given, Column) else [given[row] for row in at]

    def _collated(self, rows: Sequence[int], examples: Sequence[Example]) -> dict[str, Any]:
        features = self._collate(examples)
        return {"features": features, "real": torch.tensor(rows) >= 0, **self.targets_of(rows)}

    def targets_of(self, rows: Sequence[int]) -> dict[str, dict[str, Tensor]]:
        """Return the `targets` and `masks` of the rows, without features."""
        numbers = torch.tensor(rows)
        at = torch.maximum(numbers, ~numbers)
        return {
            "targets": {name: values[at] for name, values in self._targets.items()},
            "masks": {name: values[at] & (numbers >= 0) for name, values in self._present.items()},
        }
