"""Running texts in batches, tokenising, pooling and unit length, for teachers of texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.weights import locate, source_sha256
from polydistill.errors import MissingDataError, UnknownNameError
from polydistill.teachers._rows import Identity, NamedTeacher, require_shape

BATCH_ROWS = 32
OWN = "own"
WIDTHS = ("out_features", "embedding_dimension", "word_embedding_dimension", "hidden_size", "dim")
"""Keys under which the settings of a module state its width: of Dense, Pooling (two spellings), Transformer."""
Ints = NDArray[np.int64]


class RunsTexts:
    """Embeds texts with a prompt before each, some at a time; none is ever missing."""

    name: str
    dim: int
    batch_rows: ClassVar[int] = BATCH_ROWS
    prompt: str = ""

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`.

        Raises:
            ShapeError: `_run` gave another shape.
        """
        texts = [self.prompt + str(example) for example in examples]
        starts = range(0, len(texts), self.batch_rows)
        parts = [self._run(texts[start : start + self.batch_rows]) for start in starts]
        values = np.concatenate(parts or [np.empty((0, self.dim), dtype=np.float32)])
        require_shape(self.name, values, (len(texts), self.dim))
        return all_present(values)

    def _run(self, texts: Sequence[str]) -> FloatArray:
        """Return `(n_texts, dim)` of a batch that is not empty."""
        raise NotImplementedError


class TransformerFolder(RunsTexts, NamedTeacher):
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

    poolings: ClassVar[tuple[str, ...]] = ("mean", "cls")

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
        super().__init__(name, threads)
        if pooling not in self.poolings:
            raise UnknownNameError(f"pooling of teacher {name!r}", pooling, self.poolings)
        if pooling != OWN:
            max_tokens = 128 if max_tokens is None else max_tokens
            normalize = True if normalize is None else normalize
        self._dim, self.model, self.revision = dim, model, revision
        self.max_tokens, self.pooling, self.prompt = max_tokens, pooling, prompt
        self.normalize = normalize

    @property
    def identity(self) -> Identity:
        """See `contracts.Teacher.identity`."""
        weights = self.revision or source_sha256(self.model)
        options = ("max_tokens", "pooling", "prompt", "normalize")
        return self.identity_of(*options, weights=weights, precision="float32")

    @cached_property
    def folder(self) -> Path:
        """The local folder of the model."""
        return locate(self.model, revision=self.revision)

    @cached_property
    def dim(self) -> int:  # type: ignore[override]
        """Width of the embeddings: as given, as the folder's settings state, or as one text's embedding shows."""
        stated = self._dim or stated_width(self.folder, every_module=self.pooling == OWN)
        return stated or self._run([""]).shape[1]


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
    return np.asarray((tokens * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1))


def unit_length(values: FloatArray) -> FloatArray:
    """Divide each row by its length; a row of zeros stays."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(lengths, 1e-12), dtype=np.float32)


def all_present(values: FloatArray) -> Embeddings:
    """Wrap the rows of a teacher that never misses one."""
    return Embeddings(values.astype(np.float32), np.ones(len(values), dtype=np.bool_))
