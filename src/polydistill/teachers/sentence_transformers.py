"""Models in the format of sentence-transformers, from a hub revision, a folder or a package."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from polydistill.contracts import Example, FloatArray
from polydistill.errors import needs_extra
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import Ints, ReadsTexts, reading
from polydistill.teachers._texts import OWN, TransformerFolder, unit_length


@TEACHERS.register("sentence-transformers")
class SentenceTransformersTeacher(TransformerFolder):
    """All modules of a folder (`pooling: own`), or a transformer with pooling. sentence-transformers runs them."""

    family = "sentence-transformers"
    batch_rows = 256  # without `batch_tokens`
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
            model.compile(**self._compiling)
        return model.eval()

    def _read(self, example: Example) -> str:
        return str(example) if self.pooling == OWN else super()._read(example)

    @cached_property
    def _prepended(self) -> str:
        """The prompt that the library prepends; with another pooling than `own`, `_read` prepends it."""
        if self.pooling != OWN:
            return ""
        default = self._encoder.prompts.get(self._encoder.default_prompt_name)
        return self._prompt or default or ""

    def _batches(self, read: Sequence[Any]) -> Iterator[Sequence[int]]:
        if self.batch_tokens is not None:
            yield from super()._batches(read)
            return
        order = np.argsort([-len(text) for text in read])  # as `encode` does
        for start in range(0, len(order), ReadsTexts.batch_rows):
            yield order[start : start + ReadsTexts.batch_rows].tolist()

    def _lengths(self, texts: list[str]) -> Ints:
        tokenizer = getattr(self._encoder[0], "tokenizer", None)
        if not callable(tokenizer):  # such as static embeddings, which have no padding
            return np.array([len(text) for text in texts], dtype=np.int64)
        limit = self._encoder.max_seq_length
        texts = [self._prepended + text for text in texts]
        tokens = tokenizer(texts, truncation=limit is not None, max_length=limit)["input_ids"]
        return np.array([len(one) for one in tokens], dtype=np.int64)

    def _tokenized(self, batch: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = self._encoder.preprocess(batch, prompt=self._prepended or None)
        return found

    def _run(self, batch: dict[str, Any]) -> FloatArray:
        import torch
        from sentence_transformers.util import batch_to_device

        self._set_threads()
        with torch.inference_mode():
            given = self._encoder(batch_to_device(batch, torch.device(self.runs_on)))
        values = np.asarray(given["sentence_embedding"].float().cpu())
        if self.precision != "float32" and type(self._encoder[-1]).__name__ == "Normalize":
            values = unit_length(values)  # in half precision, lengths differ from one by 0.003
        return values if self._shortest is None else self._shortened(values)
