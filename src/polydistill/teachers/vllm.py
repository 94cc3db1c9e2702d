"""Text embedders of the size of language models, run by vLLM on one or several GPUs."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from polydistill.config.nodes import Count, Precision, Share, Width
from polydistill.contracts import FloatArray
from polydistill.errors import ParamsError
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import Ints, reading
from polydistill.teachers._texts import OWN, TransformerFolder, unit_length


@TEACHERS.register("vllm")
class VllmTeacher(TransformerFolder):
    """A model that vLLM serves; see `TransformerFolder` for the options that both have.

    vLLM divides the texts into batches itself. Its half precision is not compared with float32, because both models
    together do not fit on the GPU.

    Args:
        name: The teacher's name.
        threads: Number of threads; not used.
        model: See `TransformerFolder`.
        dim: See `TransformerFolder`.
        revision: See `TransformerFolder`.
        max_tokens: Maximum number of tokens; longer texts are truncated.
        pooling: `own`: that of the model's settings, as vLLM reads them; or `mean`, `cls`, `last`.
        prompt: See `TransformerFolder`.
        prompt_name: See `TransformerFolder`.
        normalize: Whether to scale embeddings to length one.
        truncate_dim: See `TransformerFolder`.
        precision: Precision of the weights and of the computation.
        gpus: Number of GPUs among which the model is divided.
        gpu_memory: Share of each GPU's memory that vLLM may use.
    """

    family = "vllm"
    poolings = (OWN, *TransformerFolder.poolings)
    packages: ClassVar = {"vllm": "vllm"}
    in_threads = False

    def __init__(  # noqa: PLR0913  options of params.yaml
        self,
        name: str,
        threads: int,
        *,
        model: str,
        dim: Width | None = None,
        revision: str | None = None,
        max_tokens: Count = 512,
        pooling: str | None = None,
        prompt: str = "",
        prompt_name: str | None = None,
        normalize: bool = True,
        truncate_dim: Width | None = None,
        precision: Precision = "bfloat16",
        gpus: Count = 1,
        gpu_memory: Share = 0.9,
    ) -> None:
        super().__init__(
            name,
            threads,
            model=model,
            dim=dim,
            revision=revision,
            max_tokens=max_tokens,
            pooling=pooling,
            prompt=prompt,
            prompt_name=prompt_name,
            normalize=normalize,
            truncate_dim=truncate_dim,
            precision=precision,
        )
        self.gpus, self.gpu_memory = gpus, gpu_memory

    def in_float32(self) -> Self | None:
        """Return None: the precision is not tested."""
        return None

    @cached_property
    def _engine(self) -> Any:
        try:
            from vllm import LLM
            from vllm.config import PoolerConfig
        except ImportError as error:
            raise ParamsError(
                f"Teacher {self.name!r} needs the package vllm, which has a build of PyTorch of its own: `pip install "
                "vllm` on a machine with a GPU."
            ) from error
        own = None
        if self.pooling != OWN:
            own = PoolerConfig(seq_pooling_type=self.pooling.upper(), use_activation=False)
        with reading(self.folder):
            return LLM(
                str(self.folder),
                runner="pooling",
                dtype=self.precision,
                max_model_len=self.max_tokens,
                tensor_parallel_size=self.gpus,
                gpu_memory_utilization=self.gpu_memory,
                pooler_config=own,
                trust_remote_code=False,
            )

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        with reading(self.folder):
            return AutoTokenizer.from_pretrained(self.folder, local_files_only=True)

    def _batches(self, read: Sequence[Any]) -> Iterator[Sequence[int]]:
        yield range(len(read))

    def _lengths(self, texts: list[str]) -> Ints:
        return np.array([len(ids) for ids in self._tokens(texts)], dtype=np.int64)

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        tokens = self._tokenizer(texts, truncation=True, max_length=self.max_tokens)
        return [list(ids) for ids in tokens["input_ids"]]

    def _tokenized(self, batch: list[str]) -> list[dict[str, list[int]]]:
        return [{"prompt_token_ids": ids} for ids in self._tokens(batch)]

    def _run(self, batch: list[dict[str, list[int]]]) -> FloatArray:
        found = self._engine.embed(batch, use_tqdm=False)
        values = np.array([one.outputs.embedding for one in found], dtype=np.float32)
        if self.truncate_dim is not None:
            return self._shortened(values)
        return unit_length(values) if self.normalize else values
