"""How large models are, read off their files without loading them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open

from polydistill.contracts import Teacher
from polydistill.errors import PolydistillError
from polydistill.locate import locate
from polydistill.params import TeacherParams

WEIGHT_OPTIONS = ("model", "vectors")
"""Options of a teacher family that name its weights."""
SUFFIXES = (".safetensors", ".onnx", ".npy", ".npz", ".bin")
"""In the order of preference where a folder holds the same weights twice."""


@dataclass(frozen=True)
class Size:
    """How large a model is; None where its files do not say.

    Attributes:
        weight_bytes: Of the weights on disk.
        n_parameters: Numbers in them, where the format says how many.
    """

    weight_bytes: int | None = None
    n_parameters: int | None = None


def student_size(folder: Path) -> Size:
    """Return the size of a student's bundle."""
    return weights_size(folder)


def teacher_size(row: TeacherParams, teacher: Teacher) -> Size:
    """Return the size of a teacher's weights: of the option that names them, or its class's `weights`.

    A teacher whose weights are not here (precomputed, say, or not installed) has no size.
    """
    options = row.options
    named = [options[key] for key in WEIGHT_OPTIONS if isinstance(options.get(key), str)]
    source = str(named[0]) if named else getattr(teacher, "weights", None)
    revision = options.get("revision")
    if source is None:
        return Size()
    try:
        return weights_size(
            locate(source, revision=None if revision is None else str(revision), download=False)
        )
    except PolydistillError:
        return Size()


def weights_size(path: Path) -> Size:
    """Return the size of a weights file, or of the weights in a folder; of one format only."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for suffix in SUFFIXES:
        same = [file for file in files if file.suffix == suffix]
        if same:
            counts = [_n_parameters(file) for file in same]
            known = [count for count in counts if count is not None]
            return Size(
                weight_bytes=sum(file.stat().st_size for file in same),
                n_parameters=sum(known) if len(known) == len(counts) else None,
            )
    return Size()


def _n_parameters(file: Path) -> int | None:
    if file.suffix == ".safetensors":
        with safe_open(file, framework="numpy") as weights:
            shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
            return sum(math.prod(map(int, shape)) for shape in shapes)
    if file.suffix == ".npy":
        return int(np.load(file, mmap_mode="r", allow_pickle=False).size)
    return None  # ONNX needs its own library, and a .npz may hold packed or scaled weights
