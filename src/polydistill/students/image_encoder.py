"""An image encoder of the transformers library, with random initial weights and augmented input images."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from polydistill.config.nodes import Pixels, Width
from polydistill.contracts import Example
from polydistill.data.images import read_image, square
from polydistill.errors import ParamsError
from polydistill.students import STUDENTS
from polydistill.students._bundle import NetworkStudent

PIXELS_AT_ONCE = 512 * 64 * 64
"""The maximum number of pixels that are embedded at once outside training, which bounds the memory of activations."""


class Augmentation(nn.Module):
    """Random zoom, shift, flip and colour change of each image in a batch. In eval mode, images are unchanged.

    Teachers, the held-out loss and the evaluation use unchanged images. Checkpoints contain torch's random state, so
    that a resumed run draws the same augmentations as an uninterrupted one.

    Args:
        zoom: The greatest relative change of the image's scale, in [0, 1).
        shift: The greatest shift, as a share of a side, in [0, 1); the border is filled with white.
        flip: The probability of a horizontal flip, in [0, 1); use 0 if images contain letters or digits.
        colour: The greatest relative change of brightness, contrast and each channel, in [0, 1).
    """

    def __init__(
        self, zoom: float = 0.0, shift: float = 0.0, flip: float = 0.0, colour: float = 0.0
    ) -> None:
        super().__init__()
        for name, share in (("zoom", zoom), ("shift", shift), ("flip", flip), ("colour", colour)):
            if not 0 <= share < 1:
                raise ParamsError(f"augmentation.{name} must be in [0, 1), got {share}.")
        self._zoom, self._shift, self._flip, self._colour = zoom, shift, flip, colour

    def forward(self, pixels: Tensor) -> Tensor:
        """Return augmented images, `(batch, 3, side, side)` in [0, 1], of the same shape as `pixels`."""
        if not self.training:
            return pixels
        return self._recoloured(self._moved(pixels))

    def _moved(self, pixels: Tensor) -> Tensor:
        if not (self._zoom or self._shift or self._flip):
            return pixels
        n_rows = len(pixels)
        scale = 1 + self._zoom * _around_zero(n_rows, 1)
        mirror = torch.where(torch.rand(n_rows, 1) < self._flip, -1.0, 1.0)
        move = 2 * self._shift * _around_zero(n_rows, 2)  # a side is two units long
        zeros = torch.zeros(n_rows, 1)
        rows = [
            torch.cat([scale * mirror, zeros, move[:, :1]], dim=1),
            torch.cat([zeros, scale, move[:, 1:]], dim=1),
        ]
        turns = torch.stack(rows, dim=1).to(pixels.device)
        grid = nn.functional.affine_grid(turns, list(pixels.shape), align_corners=False)
        inverted = nn.functional.grid_sample(1 - pixels, grid, align_corners=False)
        return 1 - inverted  # grid_sample fills with zeros, which become white

    def _recoloured(self, pixels: Tensor) -> Tensor:
        if not self._colour:
            return pixels
        n_rows = len(pixels)
        tint, contrast = (
            1 + self._colour * _around_zero(n_rows, columns)[..., None, None].to(pixels.device)
            for columns in (3, 1)
        )
        mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
        return ((pixels - mean) * contrast + mean * tint).clamp(0, 1)


class PooledEncoder(nn.Module):
    """An image encoder, followed by the mean over positions or tokens and a linear map.

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
            if "image_size" not in options and hasattr(config, "image_size"):
                config.image_size = size
            self.encoder: nn.Module = AutoModel.from_config(config, dtype=torch.float32)
            with torch.inference_mode():
                blank = torch.zeros(1, 3, size, size)
                shape = self.encoder.eval()(pixel_values=blank).last_hidden_state.shape
        except (ValueError, TypeError, KeyError) as error:
            raise ParamsError(
                f"student.encoder is not a configuration of transformers for images of {size} x {size} pixels: {error}"
            ) from error
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = nn.Identity()  # the pooler is not used
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
        size: Pixels = 64,
        dim: Width = 256,
        augmentation: Mapping[str, float] | None = None,
    ) -> Self:
        """Return an untrained student.

        Args:
            examples: Unused.
            generator: The random generator of the weights.
            encoder: A configuration of the transformers library: `model_type` (`pvt_v2`, `vit`, `resnet`, …) and
                the options that differ from the defaults of this model type. `image_size` is `size` if left out.
            size: The side of an input image in pixels; images of any size are padded to a square with white and
                resized.
            dim: The width of the embeddings.
            augmentation: The options of `Augmentation`; None: no augmentation.

        Raises:
            ParamsError: The transformers library has no such model type, the encoder does not take images of this
                size, or an augmentation option is out of bounds.
        """
        settings = {"encoder": dict(encoder), "size": size, "dim": dim}
        settings["augmentation"] = dict(augmentation or {})
        return cls.from_settings(settings, generator)

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `contracts.Student.collate`; `pixels` is `(batch, 3, side, side)`, uint8.

        Raises:
            UnreadableImageError: An example cannot be decoded.
        """
        side = self.settings["size"]
        pixels = np.empty((len(examples), side, side, 3), dtype=np.uint8)
        for row, example in enumerate(examples):
            pixels[row] = square(read_image(example), side)
        return {"pixels": torch.from_numpy(pixels).permute(0, 3, 1, 2)}

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """See `contracts.Student.forward`. Outside training, large images are embedded in small batches."""
        pixels = features["pixels"]
        if self.module.training:
            return super().forward({"pixels": _scaled(pixels)})
        rows = max(1, PIXELS_AT_ONCE // self.settings["size"] ** 2)
        return torch.cat([self.module(_scaled(part)) for part in pixels.split(rows)])

    @property
    def onnx_preprocessing(self) -> Mapping[str, object]:
        """See `contracts.OnnxExportable`."""
        return {
            "mode": "RGB",
            "size": self.settings["size"],
            "steps": "pad to a white square, resize bicubically to (size, size), divide by 255",
            "shape": "(batch, 3, size, size)",
        }

    def onnx_module(self) -> nn.Module:
        """See `contracts.OnnxExportable`."""
        return _PixelModule(self.module)

    def int8_onnx_module(self) -> None:
        """See `contracts.OnnxExportable`."""

    def onnx_inputs(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `contracts.OnnxExportable`."""
        return {"pixels": _scaled(self.collate(examples)["pixels"])}

    def onnx_tokenizer(self) -> None:
        """See `contracts.OnnxExportable`."""


class _PixelModule(nn.Module):
    """From pixels to embeddings of length one, for ONNX."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pixels: Tensor) -> Tensor:
        """Return embeddings, `(batch, dim)`, of pixels `(batch, 3, side, side)` in [0, 1]."""
        return nn.functional.normalize(self.module(pixels), dim=-1)


def _scaled(pixels: Tensor) -> Tensor:
    """Return pixels of type uint8 as numbers in [0, 1]."""
    return pixels.float() / 255


def _around_zero(rows: int, columns: int) -> Tensor:
    """Return random numbers, `(rows, columns)`, uniform in [-1, 1); they are the same on every device."""
    return 2 * torch.rand(rows, columns) - 1
