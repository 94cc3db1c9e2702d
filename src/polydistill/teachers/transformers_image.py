"""Any image model that transformers can load, from a hub or a folder, with its own image processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.weights import locate, source_sha256
from polydistill.errors import UnknownNameError
from polydistill.teachers import TEACHERS
from polydistill.teachers._images import embed_images

VERSION = 1
POOLINGS = ("mean", "cls", "pooler")


@TEACHERS.register("transformers-image")
class TransformersImageTeacher:
    """An image encoder; its `preprocessor_config.json` says how an image is resized and scaled, by Pillow.

    Args:
        name: What it is called here.
        threads: Of torch.
        model: A hub name (with `revision`), a folder, or `package:<folder>/<path>`.
        dim: Width of its embeddings.
        revision: The full commit of a hub name.
        pooling: `mean` over places or tokens, `cls`, the first token, or the model's own `pooler`.
    """

    by_id = False

    def __init__(
        self,
        name: str,
        threads: int,
        *,
        model: str,
        dim: int,
        revision: str | None = None,
        pooling: str = "mean",
    ) -> None:
        if pooling not in POOLINGS:
            raise UnknownNameError(f"pooling of teacher {name!r}", pooling, POOLINGS)
        self.name, self.dim = name, dim
        self._threads, self._model, self._revision = threads, model, revision
        self._pooling = pooling

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {
            "family": "transformers-image",
            "version": VERSION,
            "weights": self._revision or source_sha256(self._model),
            "pooling": self._pooling,
            "precision": "float32",
        }

    @cached_property
    def _folder(self) -> Path:
        return locate(self._model, revision=self._revision)

    @cached_property
    def _encoder(self) -> Any:
        from transformers import AutoModel

        return AutoModel.from_pretrained(
            self._folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        ).eval()

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoImageProcessor

        return AutoImageProcessor.from_pretrained(
            self._folder, local_files_only=True, backend="pil"
        )

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        torch.set_num_threads(self._threads)
        return embed_images(self.name, self.dim, examples, self._run)

    @torch.inference_mode()
    def _run(self, images: list[Any]) -> FloatArray:
        features = self._processor(images=images, return_tensors="pt")
        given = self._encoder(pixel_values=features["pixel_values"])
        if self._pooling == "pooler":
            pooled = given.pooler_output.flatten(1)
        elif self._pooling == "cls":
            pooled = given.last_hidden_state[:, 0]
        else:
            hidden = given.last_hidden_state  # (batch, tokens, dim) or (batch, dim, height, width)
            pooled = hidden.mean(dim=1) if hidden.ndim == 3 else hidden.mean(dim=(2, 3))
        values: FloatArray = pooled.float().numpy()
        return values
