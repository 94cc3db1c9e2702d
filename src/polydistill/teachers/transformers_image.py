"""Any image model that transformers can load, with the model's own image processor."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from polydistill.config.nodes import Width
from polydistill.contracts import Example, FloatArray
from polydistill.data.weights import locate
from polydistill.errors import MissingDataError, UnknownNameError
from polydistill.teachers import TEACHERS
from polydistill.teachers._devices import Kernel, RunsReduced
from polydistill.teachers._readers import ReadsImages, reading, require_safetensors

POOLINGS = ("mean", "cls", "pooler")
MAX_RATIO = 100
"""The maximum ratio of the sides of an image: processors scale the shorter side to the model's size."""


@TEACHERS.register("transformers-image")
@dataclass(eq=False, kw_only=True)
class TransformersImageTeacher(ReadsImages, RunsReduced):
    """An image encoder. Images are resized and scaled with Pillow, as the model's `preprocessor_config.json` states.

    Of a model of images and texts, such as CLIP or SigLIP, the image encoder is used, without the projection. An image
    whose sides differ by more than a factor of `MAX_RATIO` gets a missing row.

    Attributes:
        model: A model name on the hub (with `revision`), a folder, or `package:<folder>/<path>`.
        dim: Width of the embeddings.
        revision: The full commit of a model on the hub.
        pooling: `mean` over positions or tokens; `cls`, the first token; or `pooler`, the model's own pooling layer.
        attention: The implementation of attention. Default: the choice of transformers.
        compiled: Whether to compile the model with `torch.compile`.
        device: Where the model runs; see `device.device_for`.
        precision: Precision of the weights and of the computation.
        fidelity: Minimum cosine similarity of an embedding in a lower precision to that in float32.
    """

    family = "transformers-image"
    identified_by = ("pooling", "precision")
    identified_if_set = ("attention",)
    files: ClassVar = {"weights": "model"}

    model: str
    dim: Width
    revision: str | None = None
    pooling: str = "mean"
    attention: Kernel | None = None
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise UnknownNameError(f"pooling of teacher {self.name!r}", self.pooling, POOLINGS)

    @cached_property
    def _folder(self) -> Path:
        return locate(self.model, revision=self.revision)

    @cached_property
    def _encoder(self) -> Any:
        from transformers import AutoModel

        require_safetensors(self._folder)
        with reading(self._folder):
            model = AutoModel.from_pretrained(
                self._folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=self._dtype,
                attn_implementation=self.attention,
            ).eval()
        model = getattr(
            model, "vision_model", model
        )  # of a model of images and texts, such as CLIP
        if self.compiled:
            model.compile(dynamic=True)
        return model.to(self.runs_on)

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoImageProcessor

        names = ("preprocessor_config.json", "processor_config.json")
        if not any((self._folder / name).exists() for name in names):
            raise MissingDataError(
                f"{self._folder} must hold {names[0]}, the settings of the model's image processor: copy it from the "
                "model's repository."
            )
        with reading(self._folder):
            return AutoImageProcessor.from_pretrained(
                self._folder, local_files_only=True, backend="pil"
            )

    def _read(self, example: Example) -> Any | None:
        image = super()._read(example)
        too_long = image is not None and max(image.size) > MAX_RATIO * min(image.size)
        return None if too_long else image

    @torch.inference_mode()
    def _run(self, batch: list[Any]) -> FloatArray:
        torch.set_num_threads(self.threads)
        with reading(f"Teacher {self.name!r}: {self.model}"):
            pixels = [
                self._processor(images=[one], return_tensors="pt")["pixel_values"] for one in batch
            ]
            pooled = np.zeros((len(batch), self.dim), dtype=np.float32)
            for shape in {one.shape for one in pixels}:  # a processor need not crop to one shape
                rows = [row for row, one in enumerate(pixels) if one.shape == shape]
                stacked = torch.cat([pixels[row] for row in rows]).to(self.runs_on, self._dtype)
                answers = self._pool(self._encoder(pixel_values=stacked))
                if answers.shape[1] != self.dim:
                    return answers  # `embed` names the shapes
                pooled[rows] = answers
        return pooled

    def _pool(self, given: Any) -> FloatArray:
        if self.pooling == "pooler":
            pooled = given.pooler_output.flatten(1)
        elif self.pooling == "cls":
            pooled = given.last_hidden_state[:, 0]
        else:
            hidden = given.last_hidden_state  # (batch, tokens, dim) or (batch, dim, height, width)
            pooled = hidden.mean(dim=1) if hidden.ndim == 3 else hidden.mean(dim=(2, 3))
        return np.asarray(pooled.float().cpu())
