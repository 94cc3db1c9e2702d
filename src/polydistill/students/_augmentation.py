"""Augmentation as a layer: it acts in training mode only, and draws as dropout does, from the trainer's seed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from polydistill.errors import ParamsError


class Augmentation(nn.Module):
    """Crops, flips and colour changes of a batch; each example its own. Nothing at all in eval mode.

    Teachers have seen the plain images, and so do held-out loss and evaluation. Trainer keeps torch's random
    state in its checkpoints: a run that is gone on with draws what it would have drawn.

    Args:
        zoom: Sides are scaled by up to this share, either way.
        shift: Images move by up to this share of a side; white comes in.
        flip: How often left and right are exchanged: 0 where letters and digits are among the images.
        colour: Brightness, contrast and each channel change by up to this share.
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
        """Return `(batch, 3, side, side)` in [0, 1], as `pixels`."""
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
        where = nn.functional.affine_grid(
            torch.stack(rows, dim=1), list(pixels.shape), align_corners=False
        )
        ink = nn.functional.grid_sample(1 - pixels, where, align_corners=False)
        return 1 - ink  # outside is white

    def _recoloured(self, pixels: Tensor) -> Tensor:
        if not self._colour:
            return pixels
        n_rows = len(pixels)
        tint = 1 + self._colour * _around_zero(n_rows, 3)[..., None, None]
        contrast = 1 + self._colour * _around_zero(n_rows, 1)[..., None, None]
        mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
        return ((pixels - mean) * contrast + mean * tint).clamp(0, 1)


def _around_zero(rows: int, columns: int) -> Tensor:
    """Draw `(rows, columns)`, evenly in [-1, 1)."""
    return 2 * torch.rand(rows, columns) - 1
