"""Edge and colour histograms without weights: a baseline for pretrained teachers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from polydistill.config.nodes import Width
from polydistill.contracts import FloatArray
from polydistill.data.images import square
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import ReadsImages

SIDE, CELL, BINS, LEVELS = 64, 8, 9, 4
FLOOR = 5.0  # in grey levels; added to the norm of a cell, so that weak edges get small values


@TEACHERS.register("hog-colour")
@dataclass(eq=False, kw_only=True)
class HogColourTeacher(ReadsImages):
    """Histograms of oriented gradients (8 x 8 cells, 9 directions) and a colour histogram (4 x 4 x 4 colours).

    References:
        Dalal and Triggs 2005, "Histograms of oriented gradients for human detection"; here cells are scaled to
        length one, not blocks.
    """

    family = "hog-colour"

    dim: Width = 640

    def _run(self, batch: list[Any]) -> FloatArray:
        pixels = np.stack([square(image, SIDE) for image in batch])
        return np.concatenate([_edges(pixels), _colours(pixels)], axis=1)


def _edges(pixels: np.ndarray) -> FloatArray:
    """Return the histogram of edge directions of each cell, weighted by edge strength, `(batch, 576)`."""
    grey = pixels.astype(np.float64).mean(axis=3)
    down, right = np.gradient(grey, axis=(1, 2))
    strength = np.hypot(down, right)
    direction = ((np.arctan2(down, right) % np.pi) / np.pi * BINS).astype(np.int64) % BINS
    side = SIDE // CELL
    cells = np.zeros((len(pixels), side, side, BINS))
    for one in range(BINS):
        kept = np.where(direction == one, strength, 0.0)
        cells[..., one] = kept.reshape(-1, side, CELL, side, CELL).sum(axis=(2, 4))
    cells /= np.linalg.norm(cells, axis=3, keepdims=True) + FLOOR
    return np.asarray(cells.reshape(len(pixels), -1), dtype=np.float32)


def _colours(pixels: np.ndarray) -> FloatArray:
    """Return the square root of the share of pixels of each colour, `(batch, 64)`."""
    levels = (pixels // (256 // LEVELS)).astype(np.int64)
    codes = (levels @ np.array([LEVELS**2, LEVELS, 1])).reshape(len(pixels), -1)
    shares = [np.bincount(row, minlength=LEVELS**3) / row.size for row in codes]
    return np.asarray(np.sqrt(np.stack(shares)), dtype=np.float32)
