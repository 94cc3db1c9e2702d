"""Models in the layout of sentence-transformers: a hub name with its revision, a folder, or a package."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, Example
from polydistill.errors import MissingExtraError
from polydistill.teachers import TEACHERS
from polydistill.teachers._batches import BATCH_ROWS, TransformerFolder, all_present


@TEACHERS.register("sentence-transformers")
class SentenceTransformersTeacher(TransformerFolder):
    """A transformer with pooling, run by sentence-transformers."""

    family, version = "sentence-transformers", 1  # raise it when a change here changes embeddings

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
        encoder = Transformer(str(self._folder), max_seq_length=self._max_tokens)
        pooling = Pooling(encoder.get_embedding_dimension(), pooling_mode=self._pooling)
        modules = [encoder, pooling, *([Normalize()] if self._normalize else [])]
        return SentenceTransformer(modules=modules, device="cpu").eval()

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        import torch

        if not examples:
            return all_present(np.empty((0, self.dim), np.float32))
        torch.set_num_threads(self._threads)
        values = self._encoder.encode(
            [self._prompt + str(example) for example in examples],
            batch_size=BATCH_ROWS,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return all_present(values)
