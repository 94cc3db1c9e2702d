"""An image encoder of the transformers library, from a configuration, with random initial weights."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

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
        encoder: See `ImageEncoderStudent.build`.
        size: The side of an input image in pixels.
        dim: The width of the embeddings.
        augmentation: The options of `Augmentation`.
    """

    def __init__(
        self, encoder: Mapping[str, Any], size: int, dim: int, augmentation: Mapping[str, float]
    ) -> None:
        from transformers import AutoConfig, AutoModel

        super().__init__()
        options = dict(encoder)
        kind = options.pop("model_type", None)
        try:
            config = AutoConfig.for_model(kind, **options)
            self.encoder: nn.Module = AutoModel.from_config(config, dtype=torch.float32)
        except (ValueError, TypeError, KeyError) as error:
            raise ParamsError(
                f"student.encoder is not a configuration of transformers: {error}"
            ) from error
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = nn.Identity()  # the pooler is not used
        blank = torch.zeros(1, 3, size, size)
        with torch.inference_mode():
            shape = self.encoder.eval()(pixel_values=blank).last_hidden_state.shape
        self.encoder.train()
        self.projection = nn.Linear(shape[2] if len(shape) == 3 else shape[1], dim)
        self.augmentation = Augmentation(**augmentation)

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

    name, settings_file, network = "image-encoder", "image_encoder.json", PooledEncoder

    @classmethod
    def build(
        cls,
        examples: Sequence[Example],  # noqa: ARG003 - part of the contract
        generator: torch.Generator,
        *,
        encoder: Mapping[str, Any],
        size: int = 64,
        dim: int = 256,
        augmentation: Mapping[str, float] | None = None,
    ) -> Self:
        """Return an untrained student.

        Args:
            examples: Unused.
            generator: The random generator of the weights.
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
        return cls.from_settings(settings, generator)

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
