"""An image encoder of transformers' own classes, from a configuration and random weights."""

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
    """Pixels to `(batch, dim)`: the encoder, the mean over places or tokens, and a linear map.

    Args:
        encoder: A transformers model with a `last_hidden_state`.
        hidden: Its width.
        dim: Of the embeddings.
        augmentation: Acts in training mode only, as dropout does.
    """

    def __init__(self, encoder: Any, hidden: int, dim: int, augmentation: Augmentation) -> None:
        super().__init__()
        self.encoder: nn.Module = encoder
        self.projection = nn.Linear(hidden, dim)
        self.augmentation = augmentation

    def forward(self, pixels: Tensor) -> Tensor:
        """Return `(batch, dim)` of `(batch, 3, side, side)` in [0, 1]."""
        seen = (self.augmentation(pixels) - 0.5) / 0.5
        hidden = self.encoder(pixel_values=seen).last_hidden_state
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
        examples: Sequence[Example],  # noqa: ARG003 - every student is given the corpus
        generator: torch.Generator,
        threads: int,
        *,
        encoder: Mapping[str, Any],
        size: int = 64,
        dim: int = 256,
        augmentation: Mapping[str, float] | None = None,
    ) -> ImageEncoderStudent:
        """Make a student that has learned nothing yet.

        Args:
            examples: Unused.
            generator: Of the weights.
            threads: Of torch.
            encoder: A configuration of transformers: `model_type` (`pvt_v2`, `vit`, `resnet`, …) and
                whatever differs from that type's defaults.
            size: Pixels of a side; images are padded to a square with white.
            dim: Width of the embeddings.
            augmentation: See `Augmentation`; none: the student sees plain images.

        Raises:
            ParamsError: transformers knows no such type, or the augmentation has no such option.
        """
        settings = {"encoder": dict(encoder), "size": size, "dim": dim}
        settings["augmentation"] = dict(augmentation or {})
        return cls.from_settings(settings, generator, threads)

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `contracts.Student.collate`: `(batch, 3, side, side)` in [0, 1].

        Raises:
            UnreadableImageError: One of them is no image.
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
                f"student.encoder is no configuration of transformers: {error}"
            ) from error
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = nn.Identity()  # unused here
        side = settings["size"]
        with torch.inference_mode():
            shape = encoder.eval()(
                pixel_values=torch.zeros(1, 3, side, side)
            ).last_hidden_state.shape
        encoder.train()
        hidden = shape[2] if len(shape) == 3 else shape[1]
        augmentation = Augmentation(**settings["augmentation"])
        return PooledEncoder(encoder, hidden, settings["dim"], augmentation)
