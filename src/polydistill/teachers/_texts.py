"""Tokenisation, pooling and normalisation, shared by the text teachers."""

import json
import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar, Literal

import numpy as np

from polydistill.config.nodes import Count, Device, Precision, Width
from polydistill.contracts import Example, FloatArray
from polydistill.data.texts import canonical_text
from polydistill.data.weights import locate
from polydistill.errors import DataError, MissingDataError, ParamsError, UnknownNameError
from polydistill.teachers._devices import FIDELITY, Kernel, RunsReduced, Similarity
from polydistill.teachers._readers import Ints, Prepared, ReadsTexts, reading, require_safetensors

OWN = "own"
SETTINGS = "config_sentence_transformers.json"
RUN = ("Transformer", "Pooling", "Normalize")
"""The modules of sentence-transformers that the poolings other than `own` replace."""
WIDTHS = ("out_features", "embedding_dimension", "word_embedding_dimension", "hidden_size", "dim")
"""Keys of a module's settings that state its width: for Dense, Pooling (two spellings) and Transformer."""
BATCH_TOKENS = {"cpu": 2_048, "mps": 16_384, "cuda": 65_536}
"""Tokens per batch by the kind of device. On a CPU, small batches stay in its cache (`bench/extraction.py`)."""
WINDOW = 4_096
"""The number of texts that are divided into batches at once."""
LEAST_FILLED = 0.9
"""The shortest text of a batch has at least this share of the tokens of the longest."""
_log = logging.getLogger(__name__)


class TransformerFolder(ReadsTexts, RunsReduced):
    """Options, identity and batches of teachers that run a transformer from the hub, a folder or a package.

    Args:
        name: The teacher's name.
        threads: Number of threads. On a CPU, as many batches run at once, each with one thread.
        model: A model name on the hub (with `revision`), a folder, or `package:<folder>/<path>`.
        dim: Width of the embeddings. Default: read from the folder's settings, or measured on one text.
        revision: The full commit of a model on the hub.
        max_tokens: Maximum number of tokens; longer texts are truncated. Default: 128; with the pooling `own`, the
            folder's setting.
        pooling: `mean` over the tokens; `cls`, the first token; or `last`, the last token. The family
            sentence-transformers also has `own`, its default: it runs every module that the folder lists and uses the
            folder's prompts.
        prompt: Text prepended to every example.
        prompt_name: The name of a prompt in the folder's settings, such as `query`, used as the prompt.
        normalize: Whether to scale embeddings to length one. Default: true; with the pooling `own`, the folder's
            setting.
        truncate_dim: Number of first dimensions that are kept, for models whose first dimensions are embeddings too
            (Kusupati et al. 2022, "Matryoshka representation learning", arXiv:2205.13147).
        batch_tokens: Maximum number of tokens per batch, padding included; texts of similar length share a batch.
            `auto`: by the kind of device. None: batches of 32 texts.
        device: Where the model runs; see `device.device_for`.
        precision: Precision of the weights and of the computation.
        fidelity: Minimum cosine similarity of an embedding in a lower precision to that in float32.
        attention: The implementation of attention. Default: the choice of transformers.
        compiled: Whether to compile the model with `torch.compile`.
    """

    identified_by = ("max_tokens", "pooling", "prompt", "normalize", "precision")
    identified_if_set = ("prompt_name", "truncate_dim", "attention")
    files: ClassVar = {"weights": "model"}
    poolings: ClassVar[tuple[str, ...]] = ("mean", "cls", "last")
    in_threads: ClassVar[bool] = True
    """Whether the model runs in other threads, while the main thread tokenises."""

    def __init__(  # noqa: PLR0913  options of params.yaml
        self,
        name: str,
        threads: int,
        *,
        model: str,
        dim: Width | None = None,
        revision: str | None = None,
        max_tokens: Count | None = None,
        pooling: str | None = None,
        prompt: str = "",
        prompt_name: str | None = None,
        normalize: bool | None = None,
        truncate_dim: Width | None = None,
        batch_tokens: Count | Literal["auto"] | None = "auto",
        device: Device = "auto",
        precision: Precision = "float32",
        fidelity: Similarity = FIDELITY,
        attention: Kernel | None = None,
        compiled: bool = False,
    ) -> None:
        super().__init__(name, threads, device=device, precision=precision, fidelity=fidelity)
        self._pooling_is_default = pooling is None
        pooling = pooling or self.poolings[0]
        if pooling not in self.poolings:
            raise UnknownNameError(f"pooling of teacher {name!r}", pooling, self.poolings)
        if prompt and prompt_name is not None:
            raise ParamsError(f"Teacher {name!r}: give either `prompt` or `prompt_name`, not both.")
        if pooling != OWN:
            max_tokens = 128 if max_tokens is None else max_tokens
            normalize = True if normalize is None else normalize
        self._dim, self.model, self.revision = dim, model, revision
        self.max_tokens, self.pooling, self.normalize = max_tokens, pooling, normalize
        self.prompt, self.prompt_name = prompt, prompt_name
        self.truncate_dim, self.attention, self.compiled = truncate_dim, attention, compiled
        self.batch_tokens = batch_tokens
        if batch_tokens is not None:
            self.batch_rows = WINDOW
        self._tokenizing = RLock()
        self.tokens, self.positions = 0, 0
        """Number of tokens of all batches, without and with padding."""

    @cached_property
    def folder(self) -> Path:
        """The local folder of the model or, unless every module is run, of its transformer.

        Raises:
            DataError: The weights are only in a pickle, or a module or prompt of the folder would not be used.
        """
        folder = locate(self.model, revision=self.revision)
        require_safetensors(folder)
        if self.pooling == OWN:
            return folder
        prompt = read_json(folder / SETTINGS).get("default_prompt_name")
        chosen = self.prompt or self.prompt_name
        unused = [] if chosen or prompt is None else [f"the default prompt {prompt!r}"]
        modules = _modules(folder)
        for kind, path in modules:
            modes = _pooling_modes(read_json(path / "config.json")) if kind == "Pooling" else []
            if kind not in RUN:
                unused.append(f"the module {kind}")
            elif self._pooling_is_default and modes not in ([], [self.pooling]):
                unused.append(f"the pooling {', '.join(modes)}")
        if unused:
            raise DataError(
                f"Teacher {self.name!r}: with the pooling {self.pooling!r}, {' and '.join(unused)} of {folder} would not "
                f"be used: set `family: sentence-transformers` and `pooling: {OWN}`, or give `pooling` and `prompt`."
            )
        return next((path for kind, path in modules if kind == "Transformer"), folder)

    @cached_property
    def dim(self) -> int:  # type: ignore[override]
        """Width of the embeddings: the option, the width in the folder's settings, or that measured on one text."""
        stated = self._dim or stated_width(self.folder, every_module=self.pooling == OWN)
        if stated:
            return min(stated, self._shortest or stated)
        one = (np.zeros(1, dtype=np.int64), [""], self._prepare([""]))
        [(_, values)] = self._run_all(iter([one]))
        return int(values.shape[1])

    @cached_property
    def _shortest(self) -> int | None:
        """The number of first dimensions that are kept: the option, or with the pooling `own`, the folder's setting."""
        if self.truncate_dim is not None or self.pooling != OWN:
            return self.truncate_dim
        kept = read_json(self.folder / SETTINGS).get("truncate_dim")
        return kept if isinstance(kept, int) else None

    @cached_property
    def _prompt(self) -> str:
        """The text that is prepended: `prompt`, or the folder's prompt with the name `prompt_name`."""
        if self.prompt_name is None:
            return self.prompt
        folder = locate(self.model, revision=self.revision)
        known = read_json(folder / SETTINGS).get("prompts") or {}
        if self.prompt_name not in known:
            raise UnknownNameError(f"prompt of teacher {self.name!r}", self.prompt_name, known)
        return str(known[self.prompt_name])

    @property
    def _compiling(self) -> dict[str, Any]:
        """Options of `torch.compile`; on a CPU, the weights are constants, laid out for its matrix products."""
        return {"dynamic": True, "options": {"freezing": self.runs_on == "cpu"}}

    def _read(self, example: Example) -> str:
        return self._prompt + canonical_text(example)

    @property
    def _workers(self) -> int:
        """The number of batches that run at once. On a CPU, each has one thread: threads need not wait for each other."""
        return self.threads if self.batch_tokens is not None and self.runs_on == "cpu" else 1

    def _run_all(self, prepared: Iterator[Prepared]) -> Iterator[tuple[Ints, FloatArray]]:
        """Run batches in other threads, while this one makes the next."""
        if not self.in_threads:
            yield from super()._run_all(prepared)
            return
        import torch

        running = deque[tuple[Ints, Future[FloatArray]]]()
        n_threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(self._workers) as pool:
                for rows, batch, ready in prepared:
                    self._load()
                    running.append((rows, pool.submit(self._run_within_memory, batch, ready)))
                    if len(running) > self._workers:
                        done, found = running.popleft()
                        yield done, found.result()
                yield from ((rows, found.result()) for rows, found in running)
        finally:
            torch.set_num_threads(n_threads)  # MKL has one number for all threads

    def _load(self) -> None:
        """Load the model before several threads need it."""
        for name in self.weights_held:
            getattr(self, name)

    def _set_threads(self) -> None:
        """Set the number of torch's threads for a batch."""
        import torch

        torch.set_num_threads(self.threads // self._workers)

    def _batches(self, read: Sequence[Any]) -> Iterator[Sequence[int]]:
        if self.batch_tokens is None:
            yield range(len(read))
            return
        with self._tokenizing:
            lengths = self._lengths(list(read))
        order, start = np.argsort(-lengths, kind="stable"), 0
        while start < len(order):
            longest = max(int(lengths[order[start]]), 1)
            fits = order[start : start + max(self._most_tokens // longest, 1)]
            batch = fits[lengths[fits] >= LEAST_FILLED * lengths[fits[0]]].tolist()
            self.tokens += int(lengths[batch].sum())
            self.positions += longest * len(batch)
            start += len(batch)
            yield batch

    @property
    def _most_tokens(self) -> int:
        if isinstance(self.batch_tokens, int):
            return self.batch_tokens
        return BATCH_TOKENS[self.runs_on.partition(":")[0]]

    def _prepare(self, batch: list[str]) -> Any:
        with self._tokenizing:
            return self._tokenized(batch)

    def _use_less_memory(self, batch: list[str]) -> None:
        if self.batch_tokens is None:
            super()._use_less_memory(batch)
            return
        with self._tokenizing:
            positions = int(self._lengths(batch).max()) * len(batch)
        self.batch_tokens = min(self._most_tokens, max(positions, 1))
        _log.warning(
            f"{self.name}: memory is lacking, batches have {self.batch_tokens} tokens from now on."
        )

    @abstractmethod
    def _tokenized(self, batch: list[str]) -> Any:
        """Return the input of `_run` for a batch of texts."""

    @abstractmethod
    def _lengths(self, texts: list[str]) -> Ints:
        """Return the number of tokens of each text, `(n_texts,)`."""

    def _shortened(self, values: FloatArray) -> FloatArray:
        """Return the first `truncate_dim` dimensions, scaled to length one if `normalize` says so."""
        kept = values[:, : self._shortest]
        return unit_length(kept) if self.normalize else kept


def stated_width(folder: Path, *, every_module: bool) -> int | None:
    """Return the embedding width from a model's settings, or None if they do not state a width.

    Args:
        folder: The model's folder.
        every_module: Whether to read the settings of all modules in `modules.json`, if the file exists, and to
            return the width of the last module that states one. Otherwise only the transformer's settings are read.
    """
    paths = [path for _, path in _modules(folder)] if every_module else []
    for path in reversed(paths or [folder]):
        config = read_json(path / "config.json")
        for key in WIDTHS:
            if isinstance(width := config.get(key), int):
                return width * max(len(_pooling_modes(config)), 1)
    return None


def read_json(file: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file; empty if there is no such file.

    Raises:
        DataError: The file is damaged, or is not a mapping.
    """
    if not file.is_file():
        return {}
    with reading(file):
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise DataError(f"{file} must be a mapping, got {type(content).__name__}.")
        return content


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """Return the kind and the folder of each module that `modules.json` lists; empty if there is no such file."""
    file = folder / "modules.json"
    if not file.is_file():
        return []
    with reading(file):
        listed = json.loads(file.read_text(encoding="utf-8"))
        return [(one["type"].rpartition(".")[2], folder / one["path"]) for one in listed]


def _pooling_modes(config: Mapping[str, Any]) -> list[str]:
    """Return the modes of a Pooling module; older versions have one key per mode."""
    modes = config.get("pooling_mode")
    if isinstance(modes, str):
        return [modes]
    old = [key for key in config if key.startswith("pooling_mode_") and config[key] is True]
    found = modes or [key.removeprefix("pooling_mode_").split("_token")[0] for key in old]
    return [str(mode) for mode in found]


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
        with reading(file):
            self._tokenizer = Tokenizer.from_file(str(file))
        if max_tokens is not None:
            self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.enable_padding()

    def lengths(self, texts: Sequence[str]) -> Ints:
        """Return the number of tokens of each text, `(batch,)`."""
        encoded = self._tokenizer.encode_batch(list(texts))
        return np.array([sum(one.attention_mask) for one in encoded], dtype=np.int64)

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
