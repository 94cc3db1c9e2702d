"""Models in the format of sentence-transformers, from a hub revision, a folder or a package."""

import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from polydistill.contracts import Example, FloatArray
from polydistill.errors import needs_extra
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import ReadsTexts, reading
from polydistill.teachers._texts import OWN, TransformerFolder


@TEACHERS.register("sentence-transformers")
class SentenceTransformersTeacher(TransformerFolder):
    """All modules of a folder (`pooling: own`), or a transformer with pooling. sentence-transformers runs them."""

    family = "sentence-transformers"
    batch_rows = sys.maxsize  # the library batches texts of similar length itself
    poolings = (OWN, *TransformerFolder.poolings)

    @cached_property
    def _encoder(self) -> Any:
        with needs_extra(f"Teacher {self.name!r}", "text"):
            from sentence_transformers import SentenceTransformer
            from sentence_transformers.sentence_transformer.modules import (
                Normalize,
                Pooling,
                Transformer,
            )
        import torch

        folder, single = str(self.folder), {"dtype": torch.float32}
        with reading(folder):
            if self.pooling != OWN:
                encoder = Transformer(folder, model_kwargs=single, max_seq_length=self.max_tokens)
                pooling = Pooling(encoder.get_embedding_dimension(), pooling_mode=self.pooling)
                modules = [encoder, pooling, *([Normalize()] if self.normalize else [])]
                return SentenceTransformer(modules=modules, device="cpu").eval()
            own = SentenceTransformer(
                folder, device="cpu", local_files_only=True, model_kwargs=single
            ).float()
        if self.max_tokens is not None:
            own.max_seq_length = self.max_tokens
        if self.normalize is not None:
            for index in [i for i, module in enumerate(own) if isinstance(module, Normalize)][::-1]:
                del own[index]
        if self.normalize:
            own.append(Normalize())
        return own.eval()

    def _read(self, example: Example) -> str:
        return str(example) if self.pooling == OWN else super()._read(example)

    def _run(self, texts: Sequence[str]) -> FloatArray:
        import torch

        torch.set_num_threads(self.threads)
        prompt = self.prompt if self.pooling == OWN and self.prompt else None  # None: the folder's
        return np.asarray(
            self._encoder.encode(
                list(texts),
                prompt=prompt,
                batch_size=ReadsTexts.batch_rows,
                show_progress_bar=False,
            )
        )
