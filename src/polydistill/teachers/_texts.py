"""Tokenisation, pooling and normalisation, shared by the text teachers."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from polydistill.config.nodes import Count, Width
from polydistill.contracts import FloatArray
from polydistill.data.weights import locate
from polydistill.errors import MissingDataError, UnknownNameError
from polydistill.teachers._readers import ReadsTexts

OWN = "own"
WIDTHS = ("out_features", "embedding_dimension", "word_embedding_dimension", "hidden_size", "dim")
"""Keys of a module's settings that state its width: for Dense, Pooling (two spellings) and Transformer."""
Ints = NDArray[np.int64]


class TransformerFolder(ReadsTexts):
    """Options and identity of teachers that run a transformer from the hub, a folder or a package.

    Args:
        name: The teacher's name.
        threads: Number of threads that torch uses.
        model: A model name on the hub (with `revision`), a folder, or `package:<folder>/<path>`.
        dim: Width of the embeddings. Default: read from the folder's settings, or measured on one text.
        revision: The full commit of a model on the hub.
        max_tokens: Maximum number of tokens; longer texts are truncated. Default: 128; with the pooling `own`, the
            folder's setting.
        pooling: `mean` over the tokens, or `cls`, the first token. The family sentence-transformers also has `own`: it
            runs every module that the folder lists and uses the folder's prompts.
        prompt: Text prepended to every example.
        normalize: Whether to scale embeddings to length one. Default: true; with the pooling `own`, the folder's
            setting.
    """

    identified_by = ("max_tokens", "pooling", "prompt", "normalize", "precision")
    files: ClassVar = {"weights": "model"}
    poolings: ClassVar[tuple[str, ...]] = ("mean", "cls")

    def __init__(  # noqa: PLR0913  options of params.yaml
        self,
        name: str,
        threads: int,
        *,
        model: str,
        dim: Width | None = None,
        revision: str | None = None,
        max_tokens: Count | None = None,
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

    @cached_property
    def folder(self) -> Path:
        """The local folder of the model."""
        return locate(self.model, revision=self.revision)

    @cached_property
    def dim(self) -> int:  # type: ignore[override]
        """Width of the embeddings: the option, the width in the folder's settings, or that measured on one text."""
        stated = self._dim or stated_width(self.folder, every_module=self.pooling == OWN)
        return stated or self._run([""]).shape[1]


def stated_width(folder: Path, *, every_module: bool) -> int | None:
    """Return the embedding width from a model's settings, or None if they do not state a width.

    Args:
        folder: The model's folder.
        every_module: Whether to read the settings of all modules in `modules.json`, if the file exists, and to
            return the width of the last module that states one. Otherwise only the transformer's settings are read.
    """
    listed = folder / "modules.json"
    paths = [""]
    if every_module and listed.exists():
        paths = [module["path"] for module in json.loads(listed.read_text(encoding="utf-8"))]
    for path in reversed(paths):
        file = folder / path / "config.json"
        config = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        modes = config.get("pooling_mode")
        if not isinstance(modes, list):  # older versions have one key per mode
            modes = [
                key for key in config if key.startswith("pooling_mode_") and config[key] is True
            ]
        for key in WIDTHS:
            if key in config:
                return int(config[key]) * max(len(modes), 1)
    return None


class Tokens:
    """A fast tokenizer with truncation and padding, loaded from a file.

    Args:
        file: A `tokenizer.json`.
        max_tokens: Maximum number of tokens; longer texts are truncated. None: the setting in the file.
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
    """Return the mean of `tokens`, `(batch, tokens, dim)`, over positions where `mask`, `(batch, tokens)`, is one."""
    weights = mask[..., None].astype(np.float32)  # (batch, tokens, 1)
    return np.asarray((tokens * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1))


def unit_length(values: FloatArray) -> FloatArray:
    """Divide each row by its length; a row of zeros is unchanged."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(lengths, 1e-12), dtype=np.float32)
