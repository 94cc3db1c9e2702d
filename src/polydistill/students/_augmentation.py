"""Image augmentation as a layer that is active only in training mode, and uses torch's random state as dropout does."""

import torch
from torch import Tensor, nn

from polydistill.errors import ParamsError


class Augmentation(nn.Module):
    """Random zoom, shift, flip and colour change of each image in a batch. In eval mode images are unchanged.

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
        grid = nn.functional.affine_grid(
            torch.stack(rows, dim=1), list(pixels.shape), align_corners=False
        )
        inverted = nn.functional.grid_sample(1 - pixels, grid, align_corners=False)
        return 1 - inverted  # grid_sample fills with zeros, which become white

    def _recoloured(self, pixels: Tensor) -> Tensor:
        if not self._colour:
            return pixels
        n_rows = len(pixels)
        tint = 1 + self._colour * _around_zero(n_rows, 3)[..., None, None]
        contrast = 1 + self._colour * _around_zero(n_rows, 1)[..., None, None]
        mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
        return ((pixels - mean) * contrast + mean * tint).clamp(0, 1)


def _around_zero(rows: int, columns: int) -> Tensor:
    """Return random numbers, `(rows, columns)`, uniform in [-1, 1)."""
    return 2 * torch.rand(rows, columns) - 1
