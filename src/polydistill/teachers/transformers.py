"""Any encoder or decoder that transformers can load, with mean, first-token or last-token pooling."""

from functools import cached_property
from typing import Any

import numpy as np

from polydistill.contracts import FloatArray
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import Ints, reading
from polydistill.teachers._texts import Tokens, TransformerFolder


@TEACHERS.register("transformers")
class TransformersTeacher(TransformerFolder):
    """A transformer with its own `tokenizer.json`; of a model with encoder and decoder, the encoder."""

    family = "transformers"

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(self.folder / "tokenizer.json", self.max_tokens)

    @cached_property
    def _encoder(self) -> Any:
        import torch
        from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding
        from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES

        with reading(self.folder):
            config = AutoConfig.from_pretrained(self.folder, local_files_only=True)
            name = MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES.get(config.model_type) or ""
            is_half = name.endswith("EncoderModel")  # such as T5's, whose decoder has no use here
            model = (
                (AutoModelForTextEncoding if is_half else AutoModel)
                .from_pretrained(
                    self.folder,
                    config=config,
                    local_files_only=True,
                    use_safetensors=True,
                    dtype=self._dtype,
                    attn_implementation=self.attention,
                )
                .eval()
            )
        if model.config.is_encoder_decoder:
            model = model.get_encoder()
        if self.compiled:
            model.compile(**self._compiling)
        return model.to(torch.device(self.runs_on))

    def _lengths(self, texts: list[str]) -> Ints:
        return self._tokens.lengths(texts)

    def _tokenized(self, batch: list[str]) -> tuple[Ints, Ints]:
        return self._tokens(batch)

    def _run(self, batch: tuple[Ints, Ints]) -> FloatArray:
        import torch

        self._set_threads()
        ids, mask = (torch.from_numpy(one).to(self.runs_on) for one in batch)
        with torch.inference_mode():
            hidden = self._encoder(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        elif self.pooling == "last":
            pooled = hidden[torch.arange(len(hidden)), mask.sum(dim=1) - 1]
        else:
            weights = mask[..., None].to(hidden.dtype)  # (batch, tokens, 1)
            pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        return self._shortened(np.asarray(pooled.cpu()))
