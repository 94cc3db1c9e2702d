"""Text models as ONNX files, run by ONNX Runtime on one named output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, Example
from polydistill.errors import MissingExtraError, UnknownNameError
from polydistill.locate import locate, weights_sha256
from polydistill.teachers import TEACHERS
from polydistill.teachers._batches import BATCH_ROWS, Tokens, all_present, unit_length

VERSION = 1


@TEACHERS.register("onnx")
class OnnxTeacher:
    """An ONNX graph that takes token ids and gives one pooled vector a text.

    Args:
        name: What it is called here.
        threads: Of ONNX Runtime.
        model: The `.onnx` file: a path, or `package:<folder>/<path>`.
        tokenizer: The `tokenizer.json`, written in the same way.
        output: The name of the pooled output node.
        dim: Width of that output.
        max_tokens: Longer texts are cut.
        normalize: Whether embeddings have length one.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        *,
        model: str,
        tokenizer: str,
        output: str,
        dim: int,
        max_tokens: int = 128,
        normalize: bool = True,
    ) -> None:
        self.name, self.dim = name, dim
        self._threads, self._model, self._tokenizer = threads, model, tokenizer
        self._output, self._max_tokens, self._normalize = output, max_tokens, normalize

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {
            "family": "onnx",
            "version": VERSION,
            "weights": weights_sha256(locate(self._model)),
            "tokenizer": weights_sha256(locate(self._tokenizer)),
            "output": self._output,
            "max_tokens": self._max_tokens,
            "normalize": self._normalize,
            "precision": "float32",
        }

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(locate(self._tokenizer), self._max_tokens)

    @cached_property
    def _session(self) -> Any:
        try:
            import onnxruntime as ort  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtraError(f"Teacher {self.name!r}", "text") from error
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = ort.InferenceSession(
            str(locate(self._model)), options, providers=["CPUExecutionProvider"]
        )
        outputs = [node.name for node in session.get_outputs()]
        if self._output not in outputs:
            raise UnknownNameError(f"output of teacher {self.name!r}", self._output, outputs)
        return session

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        parts = [np.empty((0, self.dim), dtype=np.float32)]
        for start in range(0, len(examples), BATCH_ROWS):
            texts = [str(example) for example in examples[start : start + BATCH_ROWS]]
            ids, mask = self._tokens(texts)
            known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            feed = {node.name: known[node.name] for node in self._session.get_inputs()}
            parts.append(self._session.run([self._output], feed)[0].astype(np.float32))
        values = np.concatenate(parts)
        return all_present(unit_length(values) if self._normalize else values)
