"""An image encoder of the transformers library, from a configuration, with random initial weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polydistill.contracts import Example
from polydistill.data.images import read_image, square
from polydistill.errors import ParamsError
from polydistill.students import STUDENTS
from polydistill.students._augmentation import Augmentation
from polydistill.students._bundle import NetworkStudent


class PooledEncoder(nn.Module):
    """An encoder of pixels, the mean over positions or tokens, and a linear map.

    Args:
        encoder: A transformers model with a `last_hidden_state`.
        hidden: The width of the hidden state.
        dim: The width of the embeddings.
        augmentation: The augmentation of images in training mode.
    """

    def __init__(self, encoder: Any, hidden: int, dim: int, augmentation: Augmentation) -> None:
        super().__init__()
        self.encoder: nn.Module = encoder
        self.projection = nn.Linear(hidden, dim)
        self.augmentation = augmentation

    def forward(self, pixels: Tensor) -> Tensor:
        """Return embeddings, `(batch, dim)`, of pixels `(batch, 3, side, side)` in [0, 1]."""
        scaled = (self.augmentation(pixels) - 0.5) / 0.5
        hidden = self.encoder(pixel_values=scaled).last_hidden_state
        pooled = hidden.mean(dim=1) if hidden.ndim == 3 else hidden.mean(dim=(2, 3))
        embedded: Tensor = self.projection(pooled)
        return embedded


@STUDENTS.register("image-encoder")
class ImageEncoderStudent(NetworkStudent):
    """See `contracts.Student`."""

    name, settings_file = "image-encoder", "image_encoder.json"

    @classmethod
    def build(  # noqa: PLR0913 - its keywords are the options in params.yaml
        cls,
        examples: Sequence[Example],  # noqa: ARG003 - part of the contract
        generator: torch.Generator,
        threads: int,
        *,
        encoder: Mapping[str, Any],
        size: int = 64,
        dim: int = 256,
        augmentation: Mapping[str, float] | None = None,
    ) -> ImageEncoderStudent:
        """Return an untrained student.

        Args:
            examples: Unused.
            generator: The random generator of the weights.
            threads: The number of threads of torch.
            encoder: A configuration of the transformers library: `model_type` (`pvt_v2`, `vit`, `resnet`, …) and
                the options that differ from the defaults of this type.
            size: The side of an input image in pixels; images are padded to a square with white.
            dim: The width of the embeddings.
            augmentation: The options of `Augmentation`; None: no augmentation.

        Raises:
            ParamsError: The transformers library has no such type, or an option of the augmentation is out of bounds.
        """
        settings = {"encoder": dict(encoder), "size": size, "dim": dim}
        settings["augmentation"] = dict(augmentation or {})
        return cls.from_settings(settings, generator, threads)

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `contracts.Student.collate`: `(batch, 3, side, side)` in [0, 1].

        Raises:
            UnreadableImageError: An example cannot be decoded.
        """
        side = self.settings["size"]
        pixels = np.empty((len(examples), side, side, 3), dtype=np.uint8)
        for row, example in enumerate(examples):
            pixels[row] = square(read_image(example), side)
        return {"pixels": torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255}

    @staticmethod
    def assemble(settings: Mapping[str, Any]) -> PooledEncoder:
        """See `NetworkStudent.assemble`."""
        from transformers import AutoConfig, AutoModel

        options = dict(settings["encoder"])
        kind = options.pop("model_type", None)
        try:
            config = AutoConfig.for_model(kind, **options)
            encoder = AutoModel.from_config(config, dtype=torch.float32)
        except (ValueError, TypeError, KeyError) as error:
            raise ParamsError(
                f"student.encoder is not a configuration of transformers: {error}"
            ) from error
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = nn.Identity()  # the pooler is not used
        blank = torch.zeros(1, 3, settings["size"], settings["size"])
        with torch.inference_mode():
            shape = encoder.eval()(pixel_values=blank).last_hidden_state.shape
        encoder.train()
        hidden = shape[2] if len(shape) == 3 else shape[1]
        augmentation = Augmentation(**settings["augmentation"])
        return PooledEncoder(encoder, hidden, settings["dim"], augmentation)
