"""What teachers that run token models share: tokenising, pooling and unit length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Embeddings, FloatArray
from polydistill.data.weights import locate, source_sha256
from polydistill.errors import MissingDataError, UnknownNameError

BATCH_ROWS = 32
Ints = NDArray[np.int64]


class TransformerFolder:
    """What teachers that run a transformer from a hub, a folder or a package are given, and are known by.

    Args:
        name: What it is called here.
        threads: Of torch.
        model: A hub name (with `revision`), a folder, or `package:<folder>/<path>`.
        dim: Width of its embeddings.
        revision: The full commit of a hub name.
        max_tokens: Longer texts are cut.
        pooling: `mean` over the tokens, or `cls`, the first one.
        prompt: Put before every text.
        normalize: Whether embeddings have length one.
    """

    by_id = False
    family: str
    version: int
    poolings = ("mean", "cls")

    def __init__(  # noqa: PLR0913  options of params.yaml
        self,
        name: str,
        threads: int,
        *,
        model: str,
        dim: int,
        revision: str | None = None,
        max_tokens: int = 128,
        pooling: str = "mean",
        prompt: str = "",
        normalize: bool = True,
    ) -> None:
        if pooling not in self.poolings:
            raise UnknownNameError(f"pooling of teacher {name!r}", pooling, self.poolings)
        self.name, self.dim = name, dim
        self._threads, self._model, self._revision = threads, model, revision
        self._max_tokens, self._pooling = max_tokens, pooling
        self._prompt, self._normalize = prompt, normalize

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {
            "family": self.family,
            "version": self.version,
            "weights": self._revision or source_sha256(self._model),
            "max_tokens": self._max_tokens,
            "pooling": self._pooling,
            "prompt": self._prompt,
            "normalize": self._normalize,
            "precision": "float32",
        }

    @cached_property
    def _folder(self) -> Path:
        return locate(self._model, revision=self._revision)


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
