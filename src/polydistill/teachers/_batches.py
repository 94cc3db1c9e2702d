"""What teachers that run token models share: tokenising, pooling and unit length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Embeddings, FloatArray
from polydistill.errors import MissingDataError

BATCH_ROWS = 32
Ints = NDArray[np.int64]


class Tokens:
    """A fast tokenizer file, with truncation and padding.

    Args:
        file: A `tokenizer.json`.
        max_tokens: Longer texts are cut.
    """

    def __init__(self, file: Path, max_tokens: int) -> None:
        from tokenizers import Tokenizer

        if not file.exists():
            raise MissingDataError(f"No tokenizer file {file}.")
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.enable_padding()

    def __call__(self, texts: Sequence[str]) -> tuple[Ints, Ints]:
        """Return token ids and attention mask, each `(batch, tokens)`."""
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = np.array([one.ids for one in encoded], dtype=np.int64)
        return ids, np.array([one.attention_mask for one in encoded], dtype=np.int64)


def mean_over_tokens(tokens: FloatArray, mask: Ints) -> FloatArray:
    """Average `tokens`, `(batch, tokens, dim)`, where `mask`, `(batch, tokens)`, is one."""
    weights = mask[..., None].astype(np.float32)  # (batch, tokens, 1)
    result: FloatArray = (tokens * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)
    return result


def unit_length(values: FloatArray) -> FloatArray:
    """Divide each row by its length; a row of zeros stays."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    result: FloatArray = (values / np.maximum(lengths, 1e-12)).astype(np.float32)
    return result


def all_present(values: FloatArray) -> Embeddings:
    """Wrap the rows of a teacher that never misses one."""
    return Embeddings(values.astype(np.float32), np.ones(len(values), dtype=np.bool_))
