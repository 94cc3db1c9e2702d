"""What teachers that run token models share: tokenising, pooling and unit length."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.weights import locate, source_sha256
from polydistill.errors import MissingDataError, ShapeError, UnknownNameError

BATCH_ROWS = 32
OWN = "own"
WIDTHS = ("out_features", "embedding_dimension", "word_embedding_dimension", "hidden_size", "dim")
"""Keys under which the settings of a module state its width: of Dense, Pooling (two spellings), Transformer."""
Ints = NDArray[np.int64]


class TransformerFolder:
    """Options and identity of teachers that run a transformer from a hub, a folder or a package.

    Args:
        name: The teacher's name.
        threads: Number of torch's threads.
        model: A hub name (with `revision`), a folder, or `package:<folder>/<path>`.
        dim: Width of its embeddings. By default, what the folder's settings state.
        revision: The full commit of a hub name.
        max_tokens: Longer texts are truncated. By default 128; with the pooling `own`, as the folder states.
        pooling: `mean` over the tokens; `cls`, the first one; or, for sentence-transformers, `own`: every
            module that the folder lists, with its prompts.
        prompt: Put before every text.
        normalize: Whether embeddings have length one. By default they do; with the pooling `own`, as the
            folder states.
    """

    by_id = False
    family: str
    version: int
    poolings: tuple[str, ...] = ("mean", "cls")

    def __init__(  # noqa: PLR0913  options of params.yaml
        self,
        name: str,
        threads: int,
        *,
        model: str,
        dim: int | None = None,
        revision: str | None = None,
        max_tokens: int | None = None,
        pooling: str = "mean",
        prompt: str = "",
        normalize: bool | None = None,
    ) -> None:
        if pooling not in self.poolings:
            raise UnknownNameError(f"pooling of teacher {name!r}", pooling, self.poolings)
        if pooling != OWN:
            max_tokens = 128 if max_tokens is None else max_tokens
            normalize = True if normalize is None else normalize
        self.name, self._dim = name, dim
        self._threads, self._model, self._revision = threads, model, revision
        self._max_tokens, self._pooling = max_tokens, pooling
        self._prompt, self._normalize = prompt, normalize

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {
            "family": self.family,
            "version": self.version,
            "weights": self._revision or source_sha256(self._model),
            "max_tokens": self._max_tokens,
            "pooling": self._pooling,
            "prompt": self._prompt,
            "normalize": self._normalize,
            "precision": "float32",
        }

    @cached_property
    def folder(self) -> Path:
        """The local folder of the model."""
        return locate(self._model, revision=self._revision)

    @cached_property
    def dim(self) -> int:
        """Width of the embeddings: as given, as the folder's settings state, or as one text's embedding shows."""
        stated = self._dim or stated_width(self.folder, every_module=self._pooling == OWN)
        return stated or self._run([""]).shape[1]

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        import torch

        torch.set_num_threads(self._threads)
        texts = [str(example) for example in examples]
        values = self._run(texts) if texts else np.empty((0, self.dim), dtype=np.float32)
        if values.shape != (len(texts), self.dim):
            raise ShapeError(
                f"Teacher {self.name!r} must give shape {(len(texts), self.dim)}, got {values.shape}."
            )
        return all_present(values)

    def _run(self, texts: Sequence[str]) -> FloatArray:
        """Return `(n_texts, dim)` of at least one text, which the prompt has yet to precede."""
        raise NotImplementedError


def stated_width(folder: Path, *, every_module: bool) -> int | None:
    """Return the width that a model's settings state, or None.

    Args:
        folder: The model's.
        every_module: Whether to read the settings of the modules that `modules.json` lists, if it is there; the
            last one that states a width counts. Otherwise, the transformer's alone.
    """
    listed = folder / "modules.json"
    paths = [""]
    if every_module and listed.exists():
        paths = [module["path"] for module in json.loads(listed.read_text(encoding="utf-8"))]
    for path in reversed(paths):
        file = folder / path / "config.json"
        config = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        modes = config.get("pooling_mode")
        n_modes = sum(config[key] is True for key in config if key.startswith("pooling_mode_"))
        if isinstance(modes, list):
            n_modes = len(modes)
        for key in WIDTHS:
            if key in config:
                return int(config[key]) * max(n_modes, 1)
    return None


class Tokens:
    """A fast tokenizer file, with truncation and padding.

    Args:
        file: A `tokenizer.json`.
        max_tokens: Longer texts are truncated. None: as the file says.
    """

    def __init__(self, file: Path, max_tokens: int | None) -> None:
        from tokenizers import Tokenizer

        if not file.exists():
            raise MissingDataError(f"No tokenizer file {file}.")
        self._tokenizer = Tokenizer.from_file(str(file))
        if max_tokens is not None:
            self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.enable_padding()

    def __call__(self, texts: Sequence[str]) -> tuple[Ints, Ints]:
        """Return token ids and attention mask, each `(batch, tokens)`."""
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = np.array([one.ids for one in encoded], dtype=np.int64)
        return ids, np.array([one.attention_mask for one in encoded], dtype=np.int64)


def mean_over_tokens(tokens: FloatArray, mask: Ints) -> FloatArray:
    """Average `tokens`, `(batch, tokens, dim)`, where `mask`, `(batch, tokens)`, is one."""
    weights = mask[..., None].astype(np.float32)  # (batch, tokens, 1)
    result: FloatArray = (tokens * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)
    return result


def unit_length(values: FloatArray) -> FloatArray:
    """Divide each row by its length; a row of zeros stays."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    result: FloatArray = (values / np.maximum(lengths, 1e-12)).astype(np.float32)
    return result


def all_present(values: FloatArray) -> Embeddings:
    """Wrap the rows of a teacher that never misses one."""
    return Embeddings(values.astype(np.float32), np.ones(len(values), dtype=np.bool_))
