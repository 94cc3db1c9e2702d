"""Text models as ONNX files, run by ONNX Runtime up to one of their outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.weights import locate, source_sha256
from polydistill.errors import ShapeError, UnknownNameError
from polydistill.teachers import TEACHERS
from polydistill.teachers._batches import (
    BATCH_ROWS,
    Ints,
    Tokens,
    all_present,
    mean_over_tokens,
    unit_length,
)
from polydistill.teachers._sessions import open_session

VERSION = 2
POOLINGS: dict[str, Callable[[FloatArray, Ints], FloatArray]] = {
    "none": lambda vectors, _mask: vectors,
    "cls": lambda tokens, _mask: tokens[:, 0],
    "mean": mean_over_tokens,
}


@TEACHERS.register("onnx")
class OnnxTeacher:
    """An ONNX graph that takes token ids and gives a vector a text, or a token.

    Args:
        name: What it is called here.
        threads: Of ONNX Runtime.
        model: The `.onnx` file: a path, or `package:<folder>/<path>`.
        tokenizer: The `tokenizer.json`, written in the same way.
        output: The output node's name, or its place among the outputs (-1 is the last).
        dim: Width of that output.
        max_tokens: Longer texts are cut.
        pooling: `none` where the output is a vector a text; `mean` or `cls` over one a token.
        prompt: Put before every text.
        normalize: Whether embeddings have length one.
    """

    by_id = False

    def __init__(  # noqa: PLR0913  options of params.yaml
        self,
        name: str,
        threads: int,
        *,
        model: str,
        tokenizer: str,
        output: str | int,
        dim: int,
        max_tokens: int = 128,
        pooling: str = "none",
        prompt: str = "",
        normalize: bool = True,
    ) -> None:
        if pooling not in POOLINGS:
            raise UnknownNameError(f"pooling of teacher {name!r}", pooling, POOLINGS)
        self.name, self.dim = name, dim
        self._threads, self._model, self._tokenizer = threads, model, tokenizer
        self._output, self._max_tokens, self._normalize = output, max_tokens, normalize
        self._pooling, self._prompt = pooling, prompt

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {
            "family": "onnx",
            "version": VERSION,
            "weights": source_sha256(self._model),
            "tokenizer": source_sha256(self._tokenizer),
            "output": self._output,
            "max_tokens": self._max_tokens,
            "pooling": self._pooling,
            "prompt": self._prompt,
            "normalize": self._normalize,
            "precision": "float32",
        }

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(locate(self._tokenizer), self._max_tokens)

    @cached_property
    def _session(self) -> Any:
        path = str(locate(self._model))
        return open_session(self.name, path, threads=self._threads, extra="text")

    @cached_property
    def _node(self) -> str:
        """The output's name."""
        names = [node.name for node in self._session.get_outputs()]
        if isinstance(self._output, int) and -len(names) <= self._output < len(names):
            return str(names[self._output])
        if self._output not in names:
            raise UnknownNameError(f"output of teacher {self.name!r}", str(self._output), names)
        return str(self._output)

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        parts = [np.empty((0, self.dim), dtype=np.float32)]
        for start in range(0, len(examples), BATCH_ROWS):
            batch = examples[start : start + BATCH_ROWS]
            texts = [self._prompt + str(example) for example in batch]
            ids, mask = self._tokens(texts)
            known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            feed = {node.name: known[node.name] for node in self._session.get_inputs()}
            given = self._session.run([self._node], feed)[0].astype(np.float32)
            parts.append(self._pool(given, mask))
        values = np.concatenate(parts)
        return all_present(unit_length(values) if self._normalize else values)

    def _pool(self, given: FloatArray, mask: Ints) -> FloatArray:
        rank = 2 if self._pooling == "none" else 3
        if given.ndim != rank or given.shape[-1] != self.dim:
            wanted = "(batch, dim)" if rank == 2 else "(batch, tokens, dim)"
            raise ShapeError(
                f"Teacher {self.name!r}: output {self._node!r} with pooling {self._pooling!r} must have "
                f"shape {wanted} with dim {self.dim}, got {given.shape}."
            )
        return POOLINGS[self._pooling](given, mask)
