"""Text models as ONNX files, run by ONNX Runtime up to one of their outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.weights import locate, source_sha256
from polydistill.errors import DataError, MissingDataError, ShapeError, UnknownNameError
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
    "auto": lambda given, mask: given if given.ndim == 2 else mean_over_tokens(given, mask),
}
RANKS = {"none": (2,), "cls": (3,), "mean": (3,), "auto": (2, 3)}


@TEACHERS.register("onnx")
class OnnxTeacher:
    """An ONNX graph that takes token ids and gives a vector a text, or a token.

    Args:
        name: The teacher's name.
        threads: Number of ONNX Runtime's threads.
        model: The `.onnx` file: a path, or `package:<folder>/<path>`.
        tokenizer: The `tokenizer.json`, written in the same way. By default, the one in the model's folder or in
            that folder's parent.
        output: The output node's name, or its index among the outputs (-1 is the last).
        dim: Width of that output. By default, the graph's own.
        max_tokens: Longer texts are truncated.
        pooling: `none` where the output is one vector per text; `mean` or `cls` over one vector per token;
            `auto`: `none` or `mean`, whichever fits the output's rank.
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
        tokenizer: str | None = None,
        output: str | int = -1,
        dim: int | None = None,
        max_tokens: int = 128,
        pooling: str = "none",
        prompt: str = "",
        normalize: bool = True,
    ) -> None:
        if pooling not in POOLINGS:
            raise UnknownNameError(f"pooling of teacher {name!r}", pooling, POOLINGS)
        self.name, self._dim = name, dim
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
            "tokenizer": source_sha256(self._tokenizer or str(self._found_tokenizer)),
            "output": self._output,
            "max_tokens": self._max_tokens,
            "pooling": self._pooling,
            "prompt": self._prompt,
            "normalize": self._normalize,
            "precision": "float32",
        }

    @cached_property
    def dim(self) -> int:
        """Width of the embeddings: as given, or as one text's embedding shows."""
        return self._dim or self._run([""]).shape[1]

    @cached_property
    def _found_tokenizer(self) -> Path:
        folder = locate(self._model).parent
        for file in (folder / "tokenizer.json", folder.parent / "tokenizer.json"):
            if file.exists():
                return file
        raise MissingDataError(
            f"Teacher {self.name!r}: no tokenizer.json in {folder} or its parent. Give `tokenizer`."
        )

    @cached_property
    def _tokens(self) -> Tokens:
        file = locate(self._tokenizer) if self._tokenizer else self._found_tokenizer
        return Tokens(file, self._max_tokens)

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
        texts = [str(example) for example in examples]
        batches = (texts[start : start + BATCH_ROWS] for start in range(0, len(texts), BATCH_ROWS))
        values = np.concatenate(
            [np.empty((0, self.dim), np.float32), *(self._run(batch) for batch in batches)]
        )
        return all_present(unit_length(values) if self._normalize else values)

    def _run(self, texts: Sequence[str]) -> FloatArray:
        """Return `(n_texts, dim)`, of one batch."""
        ids, mask = self._tokens([self._prompt + text for text in texts])
        known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        names = [node.name for node in self._session.get_inputs()]
        if unknown := sorted(set(names) - set(known)):
            raise DataError(
                f"Teacher {self.name!r}: {self._model} must take {', '.join(known)} alone, "
                f"but needs {unknown[0]!r} too."
            )
        feed = {name: known[name] for name in names}
        given = self._session.run([self._node], feed)[0].astype(np.float32)
        if given.ndim not in RANKS[self._pooling] or self._dim not in (None, given.shape[-1]):
            shapes = {2: "(batch, dim)", 3: "(batch, tokens, dim)"}
            wanted = " or ".join(shapes[rank] for rank in RANKS[self._pooling])
            width = "" if self._dim is None else f" with dim {self._dim}"
            raise ShapeError(
                f"Teacher {self.name!r}: output {self._node!r} with pooling {self._pooling!r} must have "
                f"shape {wanted}{width}, got {given.shape}."
            )
        return POOLINGS[self._pooling](given, mask)
