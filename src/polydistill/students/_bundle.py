"""Base classes of students, which save and load bundles; sentence-transformers can load many of the bundles too."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from safetensors.torch import load_file, save
from tokenizers import Regex, Tokenizer, normalizers
from torch import Tensor, nn

from polydistill.contracts import Example
from polydistill.data.texts import canonical_text
from polydistill.project.card import write_card
from polydistill.project.files import write_atomic
from polydistill.students import CARD, WEIGHTS

INT8_MAX = 127
WHITE_SPACE_AT_ENDS = r"\A[\s\x1c-\x1f]+|[\s\x1c-\x1f]+\z"
"""What `str.strip` removes, as a regular expression of the tokenizers library."""


class SavedStudent(ABC):
    """A student with a torch module; its bundle holds the weights, the settings and a card with the files' hashes."""

    name: ClassVar[str]
    module: nn.Module
    dim: int

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """See `contracts.Student.forward`."""
        embeddings: Tensor = self.module(**features)
        return embeddings

    def save(self, folder: Path) -> None:
        """See `contracts.Student.save`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._write(folder)
        write_card(folder / CARD, {"dim": self.dim, "name": self.name})

    @abstractmethod
    def _write(self, folder: Path) -> None:
        """Write all files of the bundle except the card."""


class NetworkStudent(SavedStudent):
    """A student whose bundle holds the settings and the weights of a network.

    Args:
        module: The network.
        settings: The arguments of the network, including `dim`.
    """

    settings_file: ClassVar[str]
    network: ClassVar[Callable[..., nn.Module]]
    """The class of the network. Its constructor takes the settings as arguments and draws random weights."""

    def __init__(self, module: nn.Module, settings: Mapping[str, Any]) -> None:
        self.module, self.dim, self.settings = module, int(settings["dim"]), dict(settings)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], generator: torch.Generator) -> Self:
        """Return a student with random weights, drawn from `generator`."""
        with drawn_from(generator):
            return cls(cls.network(**settings), settings)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `students.load_student`."""
        settings = read_json(folder / cls.settings_file)
        with torch.random.fork_rng(devices=[]):
            module = cls.network(**settings)
        module.load_state_dict(load_file(folder / WEIGHTS))
        return cls(module.eval(), settings)

    def _write(self, folder: Path) -> None:
        write_weights(folder, self.module.state_dict())
        write_json(folder / self.settings_file, self.settings)


class BagStudent(SavedStudent):
    """A student that averages token embeddings; its bundle loads as sentence-transformers' `StaticEmbedding`.

    Args:
        weights: The embedding of each token, `(n_tokens, dim)`.
    """

    module: nn.EmbeddingBag

    @abstractmethod
    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `contracts.Student.collate`."""

    def __init__(self, weights: Tensor) -> None:
        n_tokens, self.dim = weights.shape
        self.module = nn.EmbeddingBag(n_tokens, self.dim, mode="mean", _weight=weights)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """See `contracts.Student.forward`."""
        embeddings: Tensor = self.module(features["input_ids"], features["offsets"])
        return embeddings

    def onnx_module(self) -> nn.Module:
        """See `contracts.OnnxExportable`."""
        weight = self.module.weight
        return TokenModule(
            self.module,
            lambda ids, mask: mean_over_tokens(nn.functional.embedding(ids, weight), mask),
        )

    def int8_onnx_module(self) -> nn.Module:
        """See `contracts.OnnxExportable`. Each row has a scale: the numbers of rare tokens are far larger."""
        table = QuantizedTable(self.module.weight)
        return TokenModule(table, lambda ids, mask: mean_over_tokens(table(ids), mask))

    def onnx_inputs(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `contracts.OnnxExportable`; a batch without tokens has one padded position."""
        bag = self.collate(examples)
        rows = list(bag["input_ids"].tensor_split(bag["offsets"][1:].cpu()))
        width = max(1, *map(len, rows))
        masks = [torch.ones_like(row) for row in rows]
        padded = (
            torch.stack([nn.functional.pad(row, (0, width - len(row))) for row in given])
            for given in (rows, masks)
        )
        return dict(zip(("input_ids", "attention_mask"), padded, strict=True))

    def _write(self, folder: Path) -> None:
        write_weights(folder, {"embedding.weight": self.module.weight})
        write_modules(folder, [("StaticEmbedding", "")])


class QuantizedTable(nn.Module):
    """A table of embeddings in 8 bits, with one scale per row.

    Args:
        weight: The table, `(n_tokens, dim)`.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        scale = weight.detach().abs().amax(dim=1, keepdim=True) / INT8_MAX
        quantized = (weight.detach() / scale.clamp(min=1e-30)).round().to(torch.int8)
        self.quantized, self.scale = nn.Buffer(quantized), nn.Buffer(scale)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows `ids`, `(batch, tokens)`: `(batch, tokens, dim)`."""
        rows = nn.functional.embedding(ids, self.quantized)
        return rows.to(self.scale.dtype) * nn.functional.embedding(ids, self.scale)


class TokenModule(nn.Module):
    """From padded tokens to embeddings of length one, for ONNX.

    Args:
        module: The module with the weights.
        embed: A function from `input_ids` and `attention_mask`, both `(batch, tokens)`, to embeddings.
    """

    def __init__(self, module: nn.Module, embed: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.module, self._embed = module, embed

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return embeddings, `(batch, dim)`."""
        return nn.functional.normalize(self._embed(input_ids, attention_mask), dim=-1)


def mean_over_tokens(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of `tokens`, `(batch, tokens, dim)`, where `mask`, `(batch, tokens)`, is one."""
    weights = mask.unsqueeze(-1).to(tokens.dtype)
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def bag_features(rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Return `input_ids`, the concatenated tokens of all examples, and `offsets`, the start of each example."""
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    tokens = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=int(lengths.sum()))
    offsets = torch.from_numpy(np.cumsum(lengths) - lengths)
    return {"input_ids": torch.from_numpy(tokens), "offsets": offsets}


@contextmanager
def drawn_from(generator: torch.Generator) -> Iterator[None]:
    """Seed torch's global random state from `generator` inside the block, and restore it afterwards.

    The layers of torch and other libraries draw their initial weights from the global state.
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def as_texts(examples: Sequence[Example]) -> list[str]:
    """Return the canonical forms of texts."""
    return [canonical_text(one) for one in examples]


def canonicalise(tokenizer: Tokenizer) -> Tokenizer:
    """Let a tokenizer first bring texts to their canonical form, for libraries that read a bundle without polydistill."""
    steps: list[normalizers.Normalizer] = [
        normalizers.NFC(),
        normalizers.Replace(Regex(WHITE_SPACE_AT_ENDS), ""),
    ]
    own = tokenizer.normalizer
    tokenizer.normalizer = normalizers.Sequence(steps if own is None else [*steps, own])
    return tokenizer


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def remove_keys(path: Path, *keys: str) -> None:
    """Remove keys from the JSON object in a file."""
    content = read_json(path)
    write_json(path, {key: value for key, value in content.items() if key not in keys})


def write_json(path: Path, value: object) -> None:
    """Write sorted, indented JSON. Equal values give equal bytes."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write weights to `model.safetensors` in `folder`."""
    tensors = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    write_atomic(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))


def write_modules(folder: Path, modules: Sequence[tuple[str, str]]) -> None:
    """Write `modules.json` and the configuration of sentence-transformers.

    Args:
        folder: The folder of the bundle.
        modules: The class of each module, with its package unless it is sentence-transformers' own, and the folder of
            its settings.
    """
    own = "sentence_transformers.models."
    rows = [
        {"idx": n, "name": str(n), "path": path, "type": kind if "." in kind else own + kind}
        for n, (kind, path) in enumerate(modules)
    ]
    write_json(folder / "modules.json", rows)
    write_json(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine"})
