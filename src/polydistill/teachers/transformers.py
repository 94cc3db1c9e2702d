"""Any encoder that transformers can load, with mean or first-token pooling."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from polydistill.contracts import FloatArray
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import reading
from polydistill.teachers._texts import Tokens, TransformerFolder, unit_length


@TEACHERS.register("transformers")
class TransformersTeacher(TransformerFolder):
    """A transformer encoder with its own `tokenizer.json`."""

    family = "transformers"

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(self.folder / "tokenizer.json", self.max_tokens)

    @cached_property
    def _encoder(self) -> Any:
        import torch
        from transformers import AutoModel

        with reading(self.folder):
            return AutoModel.from_pretrained(
                self.folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            ).eval()

    def _run(self, texts: Sequence[str]) -> FloatArray:
        import torch

        torch.set_num_threads(self.threads)
        ids, mask = map(torch.from_numpy, self._tokens(texts))
        with torch.inference_mode():
            hidden = self._encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            weights = mask[..., None].to(hidden.dtype)  # (batch, tokens, 1)
            pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        values = np.asarray(pooled.float())
        return unit_length(values) if self.normalize else values
