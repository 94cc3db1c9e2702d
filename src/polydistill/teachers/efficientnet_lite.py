"""EfficientNet-Lite0, trained on ImageNet: weights of a pinned file, run by a few lines of torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.images import square
from polydistill.data.weights import locate
from polydistill.errors import DataError
from polydistill.teachers import TEACHERS
from polydistill.teachers._images import embed_images

VERSION = 1
STAGES = (
    *((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80)),
    *((3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)),
)
"""Of each stage: blocks, kernel, stride of the first, expansion, channels."""
STEM, WIDTH, EPSILON = 32, 1280, 1e-3


class _Conv(nn.Conv2d):
    """A convolution padded as TensorFlow does: the odd pixel goes right and below."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  nn.Module's name
        pads: list[int] = []
        for length, kernel, stride in zip(
            reversed(input.shape[-2:]),
            reversed(self.kernel_size),
            reversed(self.stride),
            strict=True,
        ):
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(nn.functional.pad(input, pads))


def _conv(inner: int, outer: int, kernel: int, stride: int = 1, groups: int = 1) -> _Conv:
    return _Conv(inner, outer, kernel, stride, groups=groups, bias=False)


class _Block(nn.Module):
    """An inverted residual; its parts are named as in the file of weights."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inner * expansion
        self._skip, self._expands = stride == 1 and inner == outer, expansion != 1
        if self._expands:
            self._expand_conv = _conv(inner, wide, 1)
            self._bn0 = nn.BatchNorm2d(wide, eps=EPSILON)
        self._depthwise_conv = _conv(wide, wide, kernel, stride, wide)
        self._bn1 = nn.BatchNorm2d(wide, eps=EPSILON)
        self._project_conv = _conv(wide, outer, 1)
        self._bn2 = nn.BatchNorm2d(outer, eps=EPSILON)

    def forward(self, seen: Tensor) -> Tensor:
        """Return `(batch, outer, height, width)`."""
        hidden = nn.functional.relu6(self._bn0(self._expand_conv(seen))) if self._expands else seen
        hidden = nn.functional.relu6(self._bn1(self._depthwise_conv(hidden)))
        out: Tensor = self._bn2(self._project_conv(hidden))
        return out + seen if self._skip else out


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0 without its classifier.

    References:
        Tan and Le 2019, arXiv:1905.11946; "Lite": no squeeze-and-excitation, ReLU6 for Swish.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _conv(3, STEM, 3, 2), nn.BatchNorm2d(STEM, eps=EPSILON)
        blocks, inner = [], STEM
        for repeats, kernel, stride, expansion, outer in STAGES:
            for place in range(repeats):
                blocks.append(_Block(inner, outer, kernel, 1 if place else stride, expansion))
                inner = outer
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = _conv(inner, WIDTH, 1), nn.BatchNorm2d(WIDTH, eps=EPSILON)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the mean over places, `(batch, 1280)`."""
        hidden = nn.functional.relu6(self._bn0(self._conv_stem(pixels)))
        for block in self._blocks:
            hidden = block(hidden)
        return nn.functional.relu6(self._bn1(self._conv_head(hidden))).mean(dim=(2, 3))


@TEACHERS.register("efficientnet-lite")
class EfficientNetLiteTeacher:
    """See `EfficientNetLite`.

    Args:
        name: What it is called here.
        threads: Of torch.
        weights: The `.pth` file; see `locate.locate`.
        sha256: Of that file: no other is read.
        dim: 1280.
        size: Pixels of a side; images are padded to a square with white.
    """

    by_id = False

    def __init__(
        self,
        name: str,
        threads: int,
        *,
        weights: str,
        sha256: str,
        dim: int = WIDTH,
        size: int = 160,
    ) -> None:
        self.name, self.dim = name, dim
        self._threads, self._weights, self._sha256, self._size = threads, weights, sha256, size

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {
            "family": "efficientnet-lite",
            "version": VERSION,
            "weights": self._sha256,
            "size": self._size,
            "precision": "float32",
        }

    @cached_property
    def _encoder(self) -> EfficientNetLite:
        path = locate(self._weights)
        with path.open("rb") as file:
            got = hashlib.file_digest(file, "sha256").hexdigest()
        if got != self._sha256:
            raise DataError(
                f"Teacher {self.name!r}: {path.name} must have sha256 {self._sha256}, got {got}."
            )
        state = torch.load(path, map_location="cpu", weights_only=True)
        encoder = EfficientNetLite()
        encoder.load_state_dict({key: state[key] for key in encoder.state_dict()})
        return encoder.eval()

    @property
    def n_parameters(self) -> int:
        """Of the encoder; the file's classifier does not run here."""
        return sum(parameter.numel() for parameter in self._encoder.parameters())

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        torch.set_num_threads(self._threads)
        return embed_images(self.name, self.dim, examples, self._run)

    @torch.inference_mode()
    def _run(self, images: list[Any]) -> FloatArray:
        pixels = torch.from_numpy(np.stack([square(image, self._size) for image in images]))
        scaled = (pixels.permute(0, 3, 1, 2).float() - 127.0) / 128.0
        values: FloatArray = self._encoder(scaled).numpy()
        return values
