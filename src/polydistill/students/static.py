"""A table of token embeddings and their mean: the fastest student there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from polydistill.contracts import Example, FloatArray
from polydistill.data.weights import locate
from polydistill.errors import ParamsError
from polydistill.students import STUDENTS, WEIGHTS
from polydistill.students._bundle import BagStudent, as_texts, bag_features

SCALE_EXAMPLES = 4096
"""How many examples set the table's scale."""
BATCH_TOKENS = 512


@STUDENTS.register("static")
class StaticStudent(BagStudent):
    """See `contracts.Student`.

    Args:
        tokenizer: Splits texts; special tokens are left out.
        weights: `(n_tokens, dim)`.
    """

    name = "static"

    def __init__(self, tokenizer: Tokenizer, weights: Tensor) -> None:
        super().__init__(weights)
        self.tokenizer = tokenizer

    @classmethod
    def build(  # noqa: PLR0913 - its keywords are the options in params.yaml
        cls,
        examples: Sequence[Example],
        generator: torch.Generator,
        threads: int,
        *,
        tokenizer: str,
        initial: str | None = None,
        revision: str | None = None,
        dim: int = 256,
        frequency_smoothing: float = 1e-3,
        max_tokens: int = 512,
    ) -> StaticStudent:
        """Make a student that has learned nothing yet.

        Args:
            examples: The corpus: tokens that are frequent in it weigh less.
            generator: Of random embeddings, when `initial` does not give any.
            threads: Of torch.
            tokenizer: A `tokenizer.json`; see `locate.locate`.
            initial: A transformer whose embeddings of single tokens, reduced to their `dim` principal
                components, the table starts from; none: random ones.
            revision: Of `initial`, when it is on a hub.
            dim: Width of the embeddings.
            frequency_smoothing: `a` of the weight `a / (a + p)` of a token with probability `p`.
            max_tokens: Later tokens of an example are left out.

        Raises:
            ParamsError: `initial` knows fewer tokens, or has fewer dimensions, than asked for.
            MissingDataError: A path does not lead anywhere.

        References:
            Arora, Liang, Ma 2017, "A simple but tough-to-beat baseline for sentence embeddings": the weight.
        """
        torch.set_num_threads(threads)
        reader = Tokenizer.from_file(str(locate(tokenizer)))
        reader.no_padding()
        reader.enable_truncation(max_tokens)
        size = reader.get_vocab_size()
        if initial is None:
            table = torch.randn(size, dim, generator=generator)
        else:
            vectors = _embed_tokens(reader, locate(initial, revision=revision), size)
            table = torch.from_numpy(_principal_components(vectors, dim))
        table *= _frequency_weights(reader, examples, size, frequency_smoothing)[:, None]
        student = cls(reader, table)
        student._scale_to_one(examples[:SCALE_EXAMPLES])
        return student

    @classmethod
    def load(cls, folder: Path) -> StaticStudent:
        """See `students.load_student`."""
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return cls(tokenizer, load_file(folder / WEIGHTS)["embedding.weight"])

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `contracts.Student.collate`."""
        encodings = self.tokenizer.encode_batch(as_texts(examples), add_special_tokens=False)
        return bag_features([encoding.ids for encoding in encodings])

    def _write(self, folder: Path) -> None:
        super()._write(folder)
        self.tokenizer.save(str(folder / "tokenizer.json"))

    @torch.no_grad()
    def _scale_to_one(self, examples: Sequence[Example]) -> None:
        """Bring the embeddings' root mean square to one, so that a learning rate has one meaning."""
        if len(examples):
            size = self.forward(self.collate(examples)).square().mean().sqrt()
            if size > 0:
                self.module.weight /= size


def _frequency_weights(
    tokenizer: Tokenizer, examples: Sequence[Example], size: int, smoothing: float
) -> Tensor:
    """Return `(n_tokens,)` in (0, 1]: less for a token that is frequent in the corpus."""
    counts = np.zeros(size, dtype=np.int64)
    for encoding in tokenizer.encode_batch(as_texts(examples), add_special_tokens=False):
        np.add.at(counts, np.asarray(encoding.ids, dtype=np.int64), 1)
    probability = counts / max(int(counts.sum()), 1)
    return torch.from_numpy((smoothing / (smoothing + probability)).astype(np.float32))


@torch.inference_mode()
def _embed_tokens(tokenizer: Tokenizer, folder: Path, size: int) -> FloatArray:
    """Return a transformer's mean-pooled embedding of every token alone, `(n_tokens, its dim)`."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    if model.config.vocab_size < size:
        raise ParamsError(
            f"student.initial knows {model.config.vocab_size} tokens, student.tokenizer {size}: "
            "give the tokenizer that belongs to it."
        )
    around = tokenizer.encode("").ids  # [CLS] and [SEP], or whatever this tokenizer has
    before, after = around[: len(around) // 2], around[len(around) // 2 :]
    rows = torch.tensor([[*before, token, *after] for token in range(size)])
    parts = []
    for part in rows.split(BATCH_TOKENS):
        hidden = model(input_ids=part, attention_mask=torch.ones_like(part)).last_hidden_state
        parts.append(nn.functional.normalize(hidden.mean(dim=1), dim=-1).numpy())
    return np.concatenate(parts)


def _principal_components(vectors: FloatArray, dim: int) -> FloatArray:
    """Return the centred vectors in their `dim` directions of greatest variance."""
    if dim > vectors.shape[1]:
        raise ParamsError(f"student.dim must be at most {vectors.shape[1]}, got {dim}.")
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    directions: NDArray[np.float64] = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :dim]
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, np.arange(dim)])  # their sign is free
    return np.ascontiguousarray(centred @ directions, dtype=np.float32)
