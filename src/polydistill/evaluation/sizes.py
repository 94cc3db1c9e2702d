"""Sizes of models, read from their files without loading the models."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open

from polydistill.config.data import TeacherParams
from polydistill.contracts import Teacher
from polydistill.data.weights import locate
from polydistill.errors import PolydistillError

WEIGHT_OPTIONS = ("model", "vectors", "weights", "checkpoints")
"""Options of a teacher family that name its weights."""
SUFFIXES = (".safetensors", ".onnx", ".npy", ".npz", ".bin", ".pth", ".pt")
"""Weight formats in order of preference, for folders with several formats of the same weights."""


@dataclass(frozen=True)
class Size:
    """The size of a model; None if its files do not state it.

    Attributes:
        weight_bytes: Size of the weights on disk, in bytes.
        n_parameters: Number of parameters, if the format states it.
    """

    weight_bytes: int | None = None
    n_parameters: int | None = None

    @property
    def megabytes(self) -> float | None:
        """Size of the weights, in 10^6 bytes."""
        return None if self.weight_bytes is None else self.weight_bytes / 1e6


def teacher_size(row: TeacherParams, teacher: Teacher) -> Size:
    """Return the size of a teacher's weights, found by an option or by the `weights` of its class.

    A teacher without local weights (precomputed or not installed, for example) has no size. A teacher that uses only a
    part of a file may state its number of parameters in an attribute `n_parameters`.
    """
    options = row.options
    named = [options[key] for key in WEIGHT_OPTIONS if options.get(key)]
    source = named[0] if named else getattr(teacher, "weights", None)
    if source is None:
        return Size()
    revision = options.get("revision")
    pinned = None if revision is None else str(revision)
    files = source if isinstance(source, list | tuple) else [source]
    try:
        paths = [locate(str(one), revision=pinned, download=False) for one in files]
        own = getattr(teacher, "n_parameters", None)
    except PolydistillError:
        return Size()
    sizes = [weights_size(path) for path in paths]
    n_parameters = _total(size.n_parameters for size in sizes) if own is None else int(own)
    return Size(_total(size.weight_bytes for size in sizes), n_parameters)


def weights_size(path: Path) -> Size:
    """Return the size of a weights file, or of the weights of one format in a folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for suffix in SUFFIXES:
        same = [file for file in files if file.suffix == suffix]
        if same:
            return Size(sum(file.stat().st_size for file in same), _total(map(_n_parameters, same)))
    return Size()


def _total(counts: Iterable[int | None]) -> int | None:
    """Return the sum, or None if a count is unknown."""
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)


def _n_parameters(file: Path) -> int | None:
    if file.suffix == ".safetensors":
        with safe_open(file, framework="numpy") as weights:
            shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
            return sum(math.prod(map(int, shape)) for shape in shapes)
    if file.suffix == ".npy":
        return int(np.load(file, mmap_mode="r", allow_pickle=False).size)
    if file.suffix == ".onnx":
        return _n_initialised(file)
    return None  # a .npz may hold packed or scaled weights, and torch's files are pickles


def _n_initialised(file: Path) -> int | None:
    """Count the floating-point numbers in an ONNX graph; None if onnx is missing or cannot read the file.

    Some exporters write weights as initializers, others as constants.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        return None
    try:
        graph = onnx.load(str(file), load_external_data=False).graph
    except DecodeError:
        return None
    constants = [node for node in graph.node if node.op_type == "Constant"]
    values = [one.t for node in constants for one in node.attribute if one.name == "value"]
    tensors = [*graph.initializer, *values]
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE}
    return sum(math.prod(map(int, one.dims)) for one in tensors if one.data_type in floats)
