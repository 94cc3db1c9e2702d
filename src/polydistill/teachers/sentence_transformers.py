"""Models in the format of sentence-transformers, from a hub revision, a folder or a package."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from polydistill.contracts import Example, FloatArray
from polydistill.errors import needs_extra
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import ReadsTexts, reading
from polydistill.teachers._texts import OWN, Ints, TransformerFolder, unit_length


@TEACHERS.register("sentence-transformers")
class SentenceTransformersTeacher(TransformerFolder):
    """All modules of a folder (`pooling: own`), or a transformer with pooling. sentence-transformers runs them."""

    family = "sentence-transformers"
    batch_rows = 256  # without `batch_tokens`; the library divides them
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

        folder, device = str(self.folder), self.runs_on
        settings = {"dtype": self._dtype}
        if self.attention:
            settings["attn_implementation"] = self.attention
        with reading(folder):
            if self.pooling != OWN:
                encoder = Transformer(folder, model_kwargs=settings, max_seq_length=self.max_tokens)
                mode = "lasttoken" if self.pooling == "last" else self.pooling
                pooling = Pooling(encoder.get_embedding_dimension(), pooling_mode=mode)
                modules = [encoder, pooling, *([Normalize()] if self.normalize else [])]
                return self._ready(SentenceTransformer(modules=modules, device=device))
            own = SentenceTransformer(
                folder, device=device, local_files_only=True, model_kwargs=settings
            ).to(self._dtype)
        if self.max_tokens is not None:
            own.max_seq_length = self.max_tokens
        if self.normalize is not None:
            for index in [i for i, module in enumerate(own) if isinstance(module, Normalize)][::-1]:
                del own[index]
        if self.normalize:
            own.append(Normalize())
        return self._ready(own)

    def _ready(self, model: Any) -> Any:
        if self.compiled:
            model.compile(dynamic=True)
        return model.eval()

    def _read(self, example: Example) -> str:
        return str(example) if self.pooling == OWN else super()._read(example)

    def _lengths(self, texts: list[str]) -> Ints:
        tokenizer = getattr(self._encoder[0], "tokenizer", None)
        if not callable(tokenizer):  # such as static embeddings, which have no padding
            return np.array([len(text) for text in texts], dtype=np.int64)
        limit, prompt = self._encoder.max_seq_length, ""
        if self.pooling == OWN:  # `encode` adds the prompt
            default = self._encoder.prompts.get(self._encoder.default_prompt_name)
            prompt = self._prompt or default or ""
        texts = [prompt + text for text in texts]
        tokens = tokenizer(texts, truncation=limit is not None, max_length=limit)["input_ids"]
        return np.array([len(one) for one in tokens], dtype=np.int64)

    def _run(self, texts: Sequence[str]) -> FloatArray:
        import torch

        torch.set_num_threads(self.threads)
        prompt = (
            self._prompt if self.pooling == OWN and self._prompt else None
        )  # None: the folder's
        values = self._encoder.encode(
            list(texts),
            prompt=prompt,
            batch_size=ReadsTexts.batch_rows if self.batch_tokens is None else len(texts),
            show_progress_bar=False,
        )
        values = np.asarray(values, dtype=np.float32)
        if self.precision != "float32" and type(self._encoder[-1]).__name__ == "Normalize":
            values = unit_length(values)  # in half precision, lengths differ from one by 0.003
        return values if self.truncate_dim is None else self._shortened(values)
