"""EfficientNet-Lite0, trained on ImageNet, with weights from a pinned file; torch runs it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, pad, relu6

from polydistill.config.nodes import Pixels, Width
from polydistill.contracts import FloatArray
from polydistill.data.images import square
from polydistill.data.weights import locate
from polydistill.errors import DataError
from polydistill.project.files import sha256_of
from polydistill.teachers import TEACHERS
from polydistill.teachers._devices import RunsOnDevice
from polydistill.teachers._readers import Identity, ReadsImages, reading

STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
"""The number of blocks and the stride of the first block, per stage. The shapes of the weights define the rest."""
EPSILON = 1e-3


def run_network(weights: Mapping[str, Tensor], pixels: Tensor) -> Tensor:
    """Return the output of the last convolution, averaged over positions, `(batch, 1280)`.

    Args:
        weights: Weights by their names in the file.
        pixels: Scaled pixels, `(batch, 3, side, side)`.

    References:
        Tan and Le 2019, arXiv:1905.11946; the "Lite" variant has no squeeze-and-excitation and uses ReLU6
        instead of Swish.
    """

    def layer(seen: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
        kernel = weights[f"{conv}.weight"]
        groups = seen.shape[1] if kernel.shape[1] == 1 else 1  # a depthwise convolution
        padded = _padded(seen, kernel.shape[2], stride)
        found = conv2d(padded, kernel, stride=stride, groups=groups)
        parts = ("running_mean", "running_var", "weight", "bias")
        mean, variance, scale, shift = (weights[f"{norm}.{part}"] for part in parts)
        return batch_norm(found, mean, variance, scale, shift, eps=EPSILON)

    hidden = relu6(layer(pixels, "_conv_stem", "_bn0", 2))
    strides = [stride for blocks, first in STAGES for stride in (first, *[1] * (blocks - 1))]
    for number, stride in enumerate(strides):
        seen, at = hidden, f"_blocks.{number}."
        if f"{at}_expand_conv.weight" in weights:
            hidden = relu6(layer(hidden, f"{at}_expand_conv", f"{at}_bn0"))
        hidden = relu6(layer(hidden, f"{at}_depthwise_conv", f"{at}_bn1", stride))
        hidden = layer(hidden, f"{at}_project_conv", f"{at}_bn2")
        if hidden.shape == seen.shape:
            hidden = hidden + seen
    return relu6(layer(hidden, "_conv_head", "_bn1")).mean(dim=(2, 3))


def _padded(pixels: Tensor, kernel: int, stride: int) -> Tensor:
    """Pad as TensorFlow does: if the padding is odd, the extra pixel is added at the right or bottom."""
    pads: list[int] = []
    for length in reversed(pixels.shape[-2:]):
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        pads += [total // 2, total - total // 2]
    return pad(pixels, pads)


@TEACHERS.register("efficientnet-lite")
@dataclass(eq=False, kw_only=True)
class EfficientNetLiteTeacher(ReadsImages, RunsOnDevice):
    """EfficientNet-Lite0 without its classifier; see `run_network`.

    Attributes:
        weights: The `.pth` file; see `weights.locate`.
        sha256: The expected sha256 of the file; a file with another sha256 is rejected.
        dim: Width of the embeddings, 1280.
        size: Side of the input in pixels; images are padded to a white square.
        device: Where the network runs; see `device.device_for`.
    """

    family = "efficientnet-lite"
    identified_by = ("size", "precision")

    weights: str
    sha256: str
    dim: Width = 1280
    size: Pixels = 160

    @property
    def identity(self) -> Identity:
        """See `contracts.Teacher.identity`."""
        return {**super().identity, "weights": self.sha256}

    @cached_property
    def _state(self) -> dict[str, Tensor]:
        path = locate(self.weights)
        with reading(path):
            got = sha256_of(path)
        if got != self.sha256:
            raise DataError(
                f"Teacher {self.name!r}: {path.name} must have sha256 {self.sha256}, got {got}."
            )
        with reading(path):
            state: dict[str, Tensor] = torch.load(
                path, map_location=self.runs_on, weights_only=True
            )
            if "_conv_stem.weight" not in state:
                raise DataError(f"{path} must hold the weights of EfficientNet-Lite.")
            return state

    @property
    def n_parameters(self) -> int:
        """Number of parameters of the encoder; the classifier in the file is not counted."""
        runs = (key for key in self._state if not key.startswith("_fc."))
        return sum(self._state[key].numel() for key in runs if key.endswith(("weight", "bias")))

    @torch.inference_mode()
    def _run(self, batch: list[Any]) -> FloatArray:
        torch.set_num_threads(self.threads)
        pixels = torch.from_numpy(np.stack([square(image, self.size) for image in batch]))
        pixels = pixels.to(self.runs_on).permute(0, 3, 1, 2)
        return np.asarray(run_network(self._state, (pixels.float() - 127.0) / 128.0).cpu())
