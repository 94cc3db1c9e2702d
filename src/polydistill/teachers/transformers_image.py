"""Any image model that transformers can load, with the model's own image processor."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from polydistill.config.nodes import Width
from polydistill.contracts import FloatArray
from polydistill.data.weights import locate
from polydistill.errors import UnknownNameError
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import ReadsImages

POOLINGS = ("mean", "cls", "pooler")


@TEACHERS.register("transformers-image")
@dataclass(eq=False, kw_only=True)
class TransformersImageTeacher(ReadsImages):
    """An image encoder. Images are resized and scaled with Pillow, as the model's `preprocessor_config.json` states.

    Attributes:
        model: A model name on the hub (with `revision`), a folder, or `package:<folder>/<path>`.
        dim: Width of the embeddings.
        revision: The full commit of a model on the hub.
        pooling: `mean` over positions or tokens; `cls`, the first token; or `pooler`, the model's own pooling layer.
    """

    family = "transformers-image"
    identified_by = ("pooling", "precision")
    files: ClassVar = {"weights": "model"}

    model: str
    dim: Width
    revision: str | None = None
    pooling: str = "mean"

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise UnknownNameError(f"pooling of teacher {self.name!r}", self.pooling, POOLINGS)

    @cached_property
    def _folder(self) -> Path:
        return locate(self.model, revision=self.revision)

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

    @torch.inference_mode()
    def _run(self, batch: list[Any]) -> FloatArray:
        torch.set_num_threads(self.threads)
        features = self._processor(images=batch, return_tensors="pt")
        given = self._encoder(pixel_values=features["pixel_values"])
        if self.pooling == "pooler":
            pooled = given.pooler_output.flatten(1)
        elif self.pooling == "cls":
            pooled = given.last_hidden_state[:, 0]
        else:
            hidden = given.last_hidden_state  # (batch, tokens, dim) or (batch, dim, height, width)
            pooled = hidden.mean(dim=1) if hidden.ndim == 3 else hidden.mean(dim=(2, 3))
        return np.asarray(pooled.float())
