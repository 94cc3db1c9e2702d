"""Models in the layout of sentence-transformers: a hub name with its revision, a folder, or a package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, Example
from polydistill.errors import MissingExtraError, UnknownNameError
from polydistill.locate import locate, weights_sha256
from polydistill.teachers import TEACHERS

POOLINGS = ("mean", "cls")
VERSION = 1
"""Raise it whenever a change here changes embeddings: it is part of the store's keys."""


@TEACHERS.register("sentence-transformers")
class SentenceTransformersTeacher:
    """A transformer with pooling, run by sentence-transformers.

    Args:
        name: What it is called here.
        threads: Of torch.
        model: A hub name (with `revision`), a folder, or `package:<folder>/<path>`.
        dim: Width of its embeddings.
        revision: The full commit of a hub name.
        max_tokens: Longer texts are cut.
        pooling: `mean` or `cls`.
        prompt: Put before every text.
        normalize: Whether embeddings have length one.
    """

    by_id = False

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
        if pooling not in POOLINGS:
            raise UnknownNameError(f"pooling of teacher {name!r}", pooling, POOLINGS)
        self.name, self.dim = name, dim
        self._threads, self._model, self._revision = threads, model, revision
        self._max_tokens, self._pooling = max_tokens, pooling
        self._prompt, self._normalize = prompt, normalize

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {
            "family": "sentence-transformers",
            "version": VERSION,
            "weights": self._revision or weights_sha256(locate(self._model)),
            "max_tokens": self._max_tokens,
            "pooling": self._pooling,
            "prompt": self._prompt,
            "normalize": self._normalize,
            "precision": "float32",
        }

    @cached_property
    def _encoder(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer
            from sentence_transformers.sentence_transformer.modules import (
                Normalize,
                Pooling,
                Transformer,
            )
        except ImportError as error:
            raise MissingExtraError(f"Teacher {self.name!r}", "text") from error
        folder = str(locate(self._model, revision=self._revision))
        encoder = Transformer(folder, max_seq_length=self._max_tokens)
        pooling = Pooling(encoder.get_embedding_dimension(), pooling_mode=self._pooling)
        modules = [encoder, pooling, *([Normalize()] if self._normalize else [])]
        return SentenceTransformer(modules=modules, device="cpu").eval()

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        import torch

        if not examples:
            return Embeddings(np.empty((0, self.dim), np.float32), np.empty(0, np.bool_))
        torch.set_num_threads(self._threads)
        values = self._encoder.encode(
            [self._prompt + str(example) for example in examples],
            batch_size=32,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return Embeddings(values.astype(np.float32), np.ones(len(examples), np.bool_))
