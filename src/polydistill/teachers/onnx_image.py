"""Image models as ONNX files, run by ONNX Runtime up to any of their nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.images import square
from polydistill.data.weights import locate, source_sha256
from polydistill.errors import MissingExtraError, UnknownNameError
from polydistill.teachers import TEACHERS
from polydistill.teachers._images import embed_images
from polydistill.teachers._sessions import open_session

VERSION = 1
POOLINGS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "none": lambda vectors: vectors.reshape(len(vectors), -1),
    "mean": lambda tokens: tokens.mean(axis=1),
    "mean-max": lambda tokens: np.concatenate([tokens.mean(axis=1), tokens.max(axis=1)], axis=1),
}


@TEACHERS.register("onnx-image")
class OnnxImageTeacher:
    """An ONNX graph that takes a square image and gives a vector, or one a token, at the node `output`.

    Args:
        name: What it is called here.
        threads: Of ONNX Runtime.
        model: The `.onnx` file; see `locate.locate`.
        output: A node's output, also one inside the graph.
        dim: Width of the embeddings.
        size: Pixels of a side; images are padded to a square with white.
        mean: Subtracted from each channel of pixels in [0, 255], in the model's order.
        scale: Divides what is left.
        channels: `rgb` or `bgr`.
        layout: `nchw` or `nhwc`.
        pooling: `none`; `mean` or `mean-max` over tokens `(batch, tokens, dim)`.
    """

    by_id = False

    def __init__(  # noqa: PLR0913  options of params.yaml
        self,
        name: str,
        threads: int,
        *,
        model: str,
        output: str,
        dim: int,
        size: int,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        scale: float = 1.0,
        channels: str = "rgb",
        layout: str = "nchw",
        pooling: str = "none",
    ) -> None:
        for option, value, known in (
            ("channels", channels, ("rgb", "bgr")),
            ("layout", layout, ("nchw", "nhwc")),
            ("pooling", pooling, tuple(POOLINGS)),
        ):
            if value not in known:
                raise UnknownNameError(f"{option} of teacher {name!r}", value, known)
        self.name, self.dim = name, dim
        self._threads, self._model, self._output = threads, model, output
        self._size, self._mean, self._scale = size, tuple(map(float, mean)), float(scale)
        self._channels, self._layout, self._pooling = channels, layout, pooling

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {
            "family": "onnx-image",
            "version": VERSION,
            "weights": source_sha256(self._model),
            "output": self._output,
            "size": self._size,
            "mean": " ".join(map(str, self._mean)),
            "scale": self._scale,
            "channels": self._channels,
            "layout": self._layout,
            "pooling": self._pooling,
            "precision": "float32",
        }

    @cached_property
    def _session(self) -> Any:
        try:
            import onnx
        except ImportError as error:
            raise MissingExtraError(f"Teacher {self.name!r}", "vision") from error
        model = onnx.load(str(locate(self._model)))
        nodes = [name for node in model.graph.node for name in node.output]
        if self._output not in nodes:
            raise UnknownNameError(f"output of teacher {self.name!r}", self._output, nodes)
        del model.graph.output[:]
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(self._output))
        graph = model.SerializeToString()
        return open_session(self.name, graph, threads=self._threads, extra="vision")

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        return embed_images(self.name, self.dim, examples, self._run)

    def _run(self, images: list[Any]) -> FloatArray:
        pixels = np.stack([square(image, self._size) for image in images]).astype(np.float32)
        if self._channels == "bgr":
            pixels = pixels[..., ::-1]
        pixels = (pixels - np.array(self._mean, np.float32)) / np.float32(self._scale)
        if self._layout == "nchw":
            pixels = pixels.transpose(0, 3, 1, 2)
        feed = {self._session.get_inputs()[0].name: np.ascontiguousarray(pixels)}
        given = self._session.run([self._output], feed)[0].astype(np.float32)
        return POOLINGS[self._pooling](given)
