"""Any encoder that transformers can load, with mean or first-token pooling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, Example
from polydistill.errors import UnknownNameError
from polydistill.locate import locate, weights_sha256
from polydistill.teachers import TEACHERS
from polydistill.teachers._batches import BATCH_ROWS, Tokens, all_present, unit_length

POOLINGS = ("mean", "cls")
VERSION = 1


@TEACHERS.register("transformers")
class TransformersTeacher:
    """A transformer encoder with its own `tokenizer.json`.

    Args:
        name: What it is called here.
        threads: Of torch.
        model: A hub name (with `revision`), a folder, or `package:<folder>/<path>`.
        dim: Width of its last hidden state.
        revision: The full commit of a hub name.
        max_tokens: Longer texts are cut.
        pooling: `mean` over the tokens, or `cls`, the first one.
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
        normalize: bool = False,
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
            "family": "transformers",
            "version": VERSION,
            "weights": self._revision or weights_sha256(locate(self._model)),
            "max_tokens": self._max_tokens,
            "pooling": self._pooling,
            "prompt": self._prompt,
            "normalize": self._normalize,
            "precision": "float32",
        }

    @cached_property
    def _folder(self) -> Path:
        return locate(self._model, revision=self._revision)

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(self._folder / "tokenizer.json", self._max_tokens)

    @cached_property
    def _encoder(self) -> Any:
        from transformers import AutoModel

        return AutoModel.from_pretrained(
            self._folder, local_files_only=True, use_safetensors=True
        ).eval()

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        import torch

        torch.set_num_threads(self._threads)
        parts = [np.empty((0, self.dim), dtype=np.float32)]
        for start in range(0, len(examples), BATCH_ROWS):
            batch = [
                self._prompt + str(example) for example in examples[start : start + BATCH_ROWS]
            ]
            ids, mask = map(torch.from_numpy, self._tokens(batch))
            with torch.inference_mode():
                hidden = self._encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            if self._pooling == "cls":
                pooled = hidden[:, 0]
            else:
                weights = mask[..., None].to(hidden.dtype)  # (batch, tokens, 1)
                pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
            parts.append(pooled.float().numpy())
        values = np.concatenate(parts)
        return all_present(unit_length(values) if self._normalize else values)
