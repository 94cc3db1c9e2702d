"""An image encoder of transformers' own classes, from a configuration and random weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from polydistill.contracts import Example
from polydistill.data.images import read_image, square
from polydistill.errors import ParamsError
from polydistill.students import STUDENTS, WEIGHTS
from polydistill.students._augmentation import Augmentation
from polydistill.students._bundle import write_card, write_json, write_weights
from polydistill.students._layers import drawn_from

SETTINGS = "image_encoder.json"


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
class ImageEncoderStudent:
    """See `contracts.Student`.

    Args:
        module: The encoder.
        settings: What `build` was given, and the encoder's whole configuration.
    """

    def __init__(self, module: PooledEncoder, settings: Mapping[str, Any]) -> None:
        self.module, self.settings = module, dict(settings)
        self.dim = module.projection.out_features

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
        torch.set_num_threads(threads)
        settings = {"encoder": dict(encoder), "size": size, "dim": dim}
        settings["augmentation"] = dict(augmentation or {})
        with drawn_from(generator):
            return cls(_assemble(settings), settings)

    @classmethod
    def load(cls, folder: Path) -> ImageEncoderStudent:
        """See `students.load_student`."""
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        with torch.random.fork_rng(devices=[]):
            module = _assemble(settings)
        module.load_state_dict(load_file(folder / WEIGHTS))
        return cls(module.eval(), settings)

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

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """See `contracts.Student.forward`."""
        embeddings: Tensor = self.module(features["pixels"])
        return embeddings

    def save(self, folder: Path) -> None:
        """See `contracts.Student.save`."""
        folder.mkdir(parents=True, exist_ok=True)
        write_weights(folder, self.module.state_dict())
        write_json(folder / SETTINGS, self.settings)
        write_card(folder, "image-encoder", self.dim)


def _assemble(settings: Mapping[str, Any]) -> PooledEncoder:
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
        shape = encoder.eval()(pixel_values=torch.zeros(1, 3, side, side)).last_hidden_state.shape
    encoder.train()
    hidden = shape[2] if len(shape) == 3 else shape[1]
    augmentation = Augmentation(**settings["augmentation"])
    return PooledEncoder(encoder, hidden, settings["dim"], augmentation)
