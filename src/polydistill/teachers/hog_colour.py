"""Edges and colours without weights: what a pretrained teacher must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.images import square
from polydistill.teachers import TEACHERS
from polydistill.teachers._images import embed_images

VERSION = 1
SIDE, CELL, BINS, LEVELS = 64, 8, 9, 4
FLOOR = 5.0  # grey levels: a cell with weaker edges than this is nearly empty


@TEACHERS.register("hog-colour")
class HogColourTeacher:
    """Histograms of oriented gradients, 8 x 8 cells of 9 directions, beside 4 x 4 x 4 colours.

    Args:
        name: What it is called here.
        threads: Unused.
        dim: 640.

    References:
        Dalal and Triggs 2005, "Histograms of oriented gradients for human detection"; cells, not blocks, are
        scaled to length one.
    """

    by_id = False

    def __init__(self, name: str, threads: int, *, dim: int = 640) -> None:  # noqa: ARG002
        self.name, self.dim = name, dim

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {"family": "hog-colour", "version": VERSION}

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        return embed_images(self.name, self.dim, examples, _describe)


def _describe(images: list[Any]) -> FloatArray:
    pixels = np.stack([square(image, SIDE) for image in images])
    described: FloatArray = np.concatenate([_edges(pixels), _colours(pixels)], axis=1)
    return described


def _edges(pixels: np.ndarray) -> FloatArray:
    """Return `(batch, 576)`: each cell's directions, weighted by the strength of the edge."""
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
    flat: FloatArray = cells.reshape(len(pixels), -1).astype(np.float32)
    return flat


def _colours(pixels: np.ndarray) -> FloatArray:
    """Return `(batch, 64)`: the square root of each colour's share."""
    levels = (pixels // (256 // LEVELS)).astype(np.int64)
    codes = (levels @ np.array([LEVELS**2, LEVELS, 1])).reshape(len(pixels), -1)
    shares = [np.bincount(row, minlength=LEVELS**3) / row.size for row in codes]
    roots: FloatArray = np.sqrt(np.stack(shares)).astype(np.float32)
    return roots
