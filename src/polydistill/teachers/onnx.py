"""Text models in ONNX files, run by ONNX Runtime; one of the graph's outputs is used."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Literal

import numpy as np

from polydistill.config.nodes import Count, Device, Width
from polydistill.contracts import FloatArray
from polydistill.data.weights import locate
from polydistill.errors import DataError, MissingDataError, ShapeError, UnknownNameError
from polydistill.teachers import TEACHERS
from polydistill.teachers._devices import FIDELITY, RunsReduced, Similarity
from polydistill.teachers._onnx import RunsOnnx
from polydistill.teachers._readers import Ints, ReadsTexts
from polydistill.teachers._texts import Tokens, mean_over_tokens, unit_length

POOLINGS: dict[str, Callable[[FloatArray, Ints], FloatArray]] = {
    "none": lambda vectors, _mask: vectors,
    "cls": lambda tokens, _mask: tokens[:, 0],
    "mean": mean_over_tokens,
    "auto": lambda given, mask: given if given.ndim == 2 else mean_over_tokens(given, mask),
}
RANKS = {"none": (2,), "cls": (3,), "mean": (3,), "auto": (2, 3)}


@TEACHERS.register("onnx")
class OnnxTeacher(ReadsTexts, RunsOnnx, RunsReduced):
    """An ONNX graph that takes token ids and returns one vector per text or per token.

    The batch size and the number of tokens can be fixed. Inputs are cast to the graph's types.

    Args:
        name: The teacher's name.
        threads: Number of threads that ONNX Runtime uses.
        model: The `.onnx` file: a path, or `package:<folder>/<path>` for a file inside an installed Python
            package.
        tokenizer: The `tokenizer.json`: a path, or `package:<folder>/<path>`, as for `model`. Default: the
            `tokenizer.json` in the model's folder or in the parent of that folder.
        output: The output node's name, or its index among the outputs (-1 is the last).
        dim: Width of that output. Default: measured by embedding an empty text.
        max_tokens: Maximum number of tokens; longer texts are truncated.
        pooling: `none` if the output has one vector per text; `mean` or `cls` if the output has one vector per token;
            `auto` selects `none` or `mean` by the rank of the output.
        prompt: Text prepended to every example.
        normalize: Whether to scale embeddings to length one.
        device: Where the graph runs; see `device.device_for`.
        precision: `int8`: ONNX Runtime converts the weights of matrix products to 8 bits when it loads the graph.
        fidelity: Minimum cosine similarity of an embedding with `int8` to that in float32.
    """

    family, version, extra = "onnx", 2, "text"
    identified_by = ("output", "max_tokens", "pooling", "prompt", "normalize", "precision")
    files: ClassVar = {"weights": "model", "tokenizer": "tokenizer_file"}
    weights_held = ("_session",)

    def __init__(  # noqa: PLR0913  options of params.yaml
        self,
        name: str,
        threads: int,
        *,
        model: str,
        tokenizer: str | None = None,
        output: str | int = -1,
        dim: Width | None = None,
        max_tokens: Count = 128,
        pooling: str = "none",
        prompt: str = "",
        normalize: bool = True,
        device: Device = "auto",
        precision: Literal["float32", "int8"] = "float32",
        fidelity: Similarity = FIDELITY,
    ) -> None:
        if pooling not in POOLINGS:
            raise UnknownNameError(f"pooling of teacher {name!r}", pooling, POOLINGS)
        super().__init__(name, threads, device=device, precision=precision, fidelity=fidelity)
        self._dim, self.model, self.tokenizer = dim, model, tokenizer
        self.output, self.max_tokens, self.normalize = output, max_tokens, normalize
        self.pooling, self.prompt = pooling, prompt

    def _graph(self) -> str | bytes:
        if self.precision != "int8":
            return super()._graph()
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with TemporaryDirectory() as folder:
            file = Path(folder) / "int8.onnx"
            quantize_dynamic(locate(self.model), file, weight_type=QuantType.QInt8)
            return file.read_bytes()

    @cached_property
    def dim(self) -> int:  # type: ignore[override]
        """Width of the embeddings: the option, or the width measured on one text."""
        return self._dim or self._run([""]).shape[1]

    @cached_property
    def tokenizer_file(self) -> str:
        """The tokenizer file: the option, or `tokenizer.json` in the model's folder or in the parent of that folder."""
        if self.tokenizer:
            return self.tokenizer
        folder = locate(self.model).parent
        for file in (folder / "tokenizer.json", folder.parent / "tokenizer.json"):
            if file.exists():
                return str(file)
        raise MissingDataError(
            f"Teacher {self.name!r}: no tokenizer.json in {folder} or its parent. Give `tokenizer`."
        )

    @cached_property
    def _tokens(self) -> Tokens:
        fixed = self._fixed_tokens
        most = self.max_tokens if fixed is None else min(fixed, self.max_tokens)
        return Tokens(locate(self.tokenizer_file), most)

    @property
    def _fixed_tokens(self) -> int | None:
        """The number of tokens per text, if the graph fixes it."""
        lengths = [node.shape[1] for node in self._session.get_inputs() if len(node.shape) == 2]
        return next((one for one in lengths if isinstance(one, int)), None)

    @cached_property
    def _node(self) -> str:
        """The name of the output node."""
        names = [node.name for node in self._session.get_outputs()]
        if isinstance(self.output, int) and -len(names) <= self.output < len(names):
            return str(names[self.output])
        if self.output not in names:
            raise UnknownNameError(f"output of teacher {self.name!r}", str(self.output), names)
        return str(self.output)

    def _run(self, texts: Sequence[str]) -> FloatArray:
        ids, mask = self._tokens(texts)
        if fixed := self._fixed_tokens:
            ids, mask = (np.pad(one, ((0, 0), (0, fixed - one.shape[1]))) for one in (ids, mask))
        known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        names = [node.name for node in self._session.get_inputs()]
        if unknown := sorted(set(names) - set(known)):
            raise DataError(
                f"Teacher {self.name!r}: {self.model} must take only {', '.join(known)}, "
                f"but needs {unknown[0]!r} too."
            )
        feed = {name: known[name] for name in names}
        given = self._answer(feed, self._node)
        if given.ndim not in RANKS[self.pooling]:
            shapes = {2: "(batch, dim)", 3: "(batch, tokens, dim)"}
            wanted = " or ".join(shapes[rank] for rank in RANKS[self.pooling])
            raise ShapeError(
                f"Teacher {self.name!r}: output {self._node!r} with pooling {self.pooling!r} must have "
                f"shape {wanted}, got {given.shape}."
            )
        pooled = POOLINGS[self.pooling](given, mask)
        return unit_length(pooled) if self.normalize else pooled
