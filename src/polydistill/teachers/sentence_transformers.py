"""Models in the layout of sentence-transformers: a hub name with its revision, a folder, or a package."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from polydistill.contracts import FloatArray
from polydistill.errors import MissingExtraError
from polydistill.teachers import TEACHERS
from polydistill.teachers._batches import BATCH_ROWS, OWN, TransformerFolder


@TEACHERS.register("sentence-transformers")
class SentenceTransformersTeacher(TransformerFolder):
    """A transformer with pooling, or every module of a folder (`pooling: own`), run by sentence-transformers."""

    family, version = "sentence-transformers", 1  # raise it when a change here changes embeddings
    poolings = (*TransformerFolder.poolings, OWN)

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
        folder = str(self.folder)
        if self._pooling != OWN:
            encoder = Transformer(folder, max_seq_length=self._max_tokens)
            pooling = Pooling(encoder.get_embedding_dimension(), pooling_mode=self._pooling)
            modules = [encoder, pooling, *([Normalize()] if self._normalize else [])]
            return SentenceTransformer(modules=modules, device="cpu").eval()
        own = SentenceTransformer(folder, device="cpu", local_files_only=True).float()
        if self._max_tokens is not None:
            own.max_seq_length = self._max_tokens
        if self._normalize is not None:
            for index in [i for i, module in enumerate(own) if isinstance(module, Normalize)][::-1]:
                del own[index]
        if self._normalize:
            own.append(Normalize())
        return own.eval()

    def _run(self, texts: Sequence[str]) -> FloatArray:
        if self._pooling != OWN:
            texts = [self._prompt + text for text in texts]
        values: FloatArray = self._encoder.encode(
            list(texts),
            prompt=(self._pooling == OWN and self._prompt)
            or None,  # None: the folder's default prompt
            batch_size=BATCH_ROWS,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return values
