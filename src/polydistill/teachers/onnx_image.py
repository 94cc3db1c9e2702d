"""Image models in ONNX files, run by ONNX Runtime; the output of any node can be used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from polydistill.config.nodes import Colour, Factor, Pixels, Width
from polydistill.contracts import FloatArray
from polydistill.data.images import square
from polydistill.data.weights import locate
from polydistill.errors import DataError, ParamsError, UnknownNameError, needs_extra
from polydistill.teachers import TEACHERS
from polydistill.teachers._onnx import NUMBERS, RunsOnnx
from polydistill.teachers._readers import Identity, ReadsImages, reading

POOLINGS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "none": lambda vectors: vectors.reshape(len(vectors), -1),
    "mean": lambda tokens: tokens.mean(axis=1),
    "mean-max": lambda tokens: np.concatenate([tokens.mean(axis=1), tokens.max(axis=1)], axis=1),
}
CHOICES = {"channels": ("rgb", "bgr"), "layout": ("nchw", "nhwc"), "pooling": tuple(POOLINGS)}


@TEACHERS.register("onnx-image")
@dataclass(eq=False, kw_only=True)
class OnnxImageTeacher(ReadsImages, RunsOnnx):
    """An ONNX graph that takes a square image and returns one vector per image or per token.

    The batch size can be fixed, and the input can be float32, float16, float64 or uint8.

    Attributes:
        model: The `.onnx` file; see `weights.locate`.
        output: Name of a node's output; the node may be inside the graph.
        dim: Width of the embeddings.
        size: Side of the input in pixels; images are padded to a white square.
        mean: Values that are subtracted from the channels of pixels in [0, 255], in the channel order of the model.
        scale: Number by which all channels are divided after the mean is subtracted.
        channels: Channel order of the input, `rgb` or `bgr`.
        layout: Axis order of the input, `nchw` or `nhwc`.
        pooling: `none` flattens the output of each image; `mean` and `mean-max` pool over tokens,
            `(batch, tokens, dim)`.
        device: Where the graph runs; see `device.device_for`.
    """

    family, extra = "onnx-image", "vision"
    identified_by = ("output", "size", "scale", *CHOICES, "precision")

    model: str
    output: str
    dim: Width
    size: Pixels
    mean: Colour = (0.0, 0.0, 0.0)
    scale: Factor = 1.0
    channels: str = "rgb"
    layout: str = "nchw"
    pooling: str = "none"

    def __post_init__(self) -> None:
        self.mean, self.scale = tuple(map(float, self.mean)), float(self.scale)
        for option, known in CHOICES.items():
            if getattr(self, option) not in known:
                raise UnknownNameError(
                    f"{option} of teacher {self.name!r}", getattr(self, option), known
                )

    @property
    def identity(self) -> Identity:
        """See `contracts.Teacher.identity`."""
        return {**super().identity, "mean": " ".join(map(str, self.mean))}

    def _graph(self) -> bytes:
        with needs_extra(f"Teacher {self.name!r}", self.extra):
            import onnx
        with reading(f"Teacher {self.name!r}: {self.model}"):
            model = onnx.load(str(locate(self.model)))
        nodes = [name for node in model.graph.node for name in node.output]
        if self.output not in nodes:
            raise UnknownNameError(f"output of teacher {self.name!r}", self.output, nodes)
        del model.graph.output[:]
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(self.output))
        return bytes(model.SerializeToString())

    def check(self) -> None:
        """Check the settings against the input of the graph.

        Raises:
            DataError: The file is not an ONNX model, or takes several inputs.
            ParamsError: The graph takes uint8 pixels, and `mean` or `scale` changes them.
            ShapeError: The graph takes images of another shape.
        """
        first, *others = self._session.get_inputs()
        if others:
            raise DataError(
                f"Teacher {self.name!r}: {self.model} must take only images, but needs "
                f"{', '.join(repr(one.name) for one in others)[:200]} too."
            )
        if NUMBERS.get(first.type) is np.uint8 and (any(self.mean) or self.scale != 1):
            raise ParamsError(
                f"Teacher {self.name!r}: {self.model} takes uint8 pixels: leave out `mean` and `scale`."
            )
        side = self.size
        shape = (1, 3, side, side) if self.layout == "nchw" else (1, side, side, 3)
        self._require_shape(first.name, shape, " Correct `layout` or `size`.")

    def _run(self, batch: list[Any]) -> FloatArray:
        self.check()
        pixels = np.stack([square(image, self.size) for image in batch]).astype(np.float32)
        if self.channels == "bgr":
            pixels = pixels[..., ::-1]
        pixels = (pixels - np.array(self.mean, np.float32)) / np.float32(self.scale)
        if self.layout == "nchw":
            pixels = pixels.transpose(0, 3, 1, 2)
        feed = {self._session.get_inputs()[0].name: np.ascontiguousarray(pixels)}
        return POOLINGS[self.pooling](self._answer(feed, self.output))
