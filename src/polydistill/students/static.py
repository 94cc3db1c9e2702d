"""A table of token embeddings; the embedding of a text is the mean over its tokens. This is the fastest student."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from polydistill.config.nodes import Count, Factor, Width
from polydistill.contracts import Example, FloatArray
from polydistill.data.weights import locate
from polydistill.errors import ParamsError
from polydistill.students import STUDENTS, WEIGHTS
from polydistill.students._bundle import BagStudent, as_texts, bag_features, canonicalise

SCALE_EXAMPLES = 4096
"""The number of examples from which the scale of the table is computed."""
BATCH_TOKENS, BATCH_TEXTS = 512, 4096


@STUDENTS.register("static")
class StaticStudent(BagStudent):
    """See `contracts.Student`.

    Args:
        tokenizer: The tokenizer of texts; special tokens are not used.
        weights: The embedding of each token, `(n_tokens, dim)`.
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
        *,
        tokenizer: str,
        initial: str | None = None,
        revision: str | None = None,
        dim: Width = 256,
        frequency_smoothing: Factor = 1e-3,
        max_tokens: Count = 512,
    ) -> Self:
        """Return an untrained student.

        Args:
            examples: The corpus; its frequent tokens get smaller embeddings.
            generator: The random generator of the embeddings, if `initial` is None.
            tokenizer: The path of a `tokenizer.json`; see `data.weights.locate`.
            initial: A transformer that initialises the table. It embeds each token alone, and the embeddings are
                reduced to `dim` principal components. None: random embeddings.
            revision: The full commit of `initial`, if it is on the hub.
            dim: The width of the embeddings.
            frequency_smoothing: The number `a` in the weight `a / (a + p)` of a token with probability `p`.
            max_tokens: The number of tokens after which a text is truncated.

        Raises:
            ParamsError: `initial` has fewer tokens than `tokenizer`, or fewer dimensions than `dim`.
            MissingDataError: The file `tokenizer` or the folder `initial` does not exist.

        References:
            Arora, Liang, Ma 2017, "A simple but tough-to-beat baseline for sentence embeddings", for the weight.
        """
        reader = canonicalise(Tokenizer.from_file(str(locate(tokenizer))))
        reader.no_padding()
        reader.enable_truncation(max_tokens)
        size = max(reader.get_vocab().values(), default=-1) + 1  # the ids may have holes
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
    def load(cls, folder: Path) -> Self:
        """See `students.load_student`."""
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return cls(tokenizer, load_file(folder / WEIGHTS)["embedding.weight"])

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `contracts.Student.collate`."""
        encodings = self.tokenizer.encode_batch_fast(as_texts(examples), add_special_tokens=False)
        return bag_features([encoding.ids for encoding in encodings])

    @property
    def onnx_preprocessing(self) -> Mapping[str, object]:
        """See `contracts.OnnxExportable`."""
        limit = (self.tokenizer.truncation or {}).get("max_length")
        return {"add_special_tokens": False, "max_tokens": limit}

    def onnx_tokenizer(self) -> str:
        """See `contracts.OnnxExportable`."""
        return str(self.tokenizer.to_str(pretty=True))

    def _write(self, folder: Path) -> None:
        super()._write(folder)
        self.tokenizer.save(str(folder / "tokenizer.json"))

    @torch.no_grad()
    def _scale_to_one(self, examples: Sequence[Example]) -> None:
        """Scale the embeddings to a root mean square of one, so that the learning rate does not depend on `initial`."""
        if len(examples):
            size = self.forward(self.collate(examples)).square().mean().sqrt()
            if size > 0:
                self.module.weight /= size


def _frequency_weights(
    tokenizer: Tokenizer, examples: Sequence[Example], size: int, smoothing: float
) -> Tensor:
    """Return the weight of each token, `(n_tokens,)` in (0, 1]; frequent tokens have smaller weights."""
    counts = np.zeros(size, dtype=np.int64)
    for start in range(0, len(examples), BATCH_TEXTS):
        texts = as_texts(examples[start : start + BATCH_TEXTS])
        for encoding in tokenizer.encode_batch(texts, add_special_tokens=False):
            np.add.at(counts, np.asarray(encoding.ids, dtype=np.int64), 1)
    probability = counts / max(int(counts.sum()), 1)
    return torch.from_numpy((smoothing / (smoothing + probability)).astype(np.float32))


@torch.inference_mode()
def _embed_tokens(tokenizer: Tokenizer, folder: Path, size: int) -> FloatArray:
    """Return a transformer's normalised, mean-pooled embedding of each single token, `(n_tokens, hidden_size)`."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    if model.config.vocab_size < size:
        raise ParamsError(
            f"student.initial must have the {size} tokens of student.tokenizer, got {model.config.vocab_size}: "
            "use the tokenizer of this model."
        )
    around = tokenizer.encode("").ids  # the special tokens, such as [CLS] and [SEP]
    before, after = around[: len(around) // 2], around[len(around) // 2 :]
    rows = torch.tensor([[*before, token, *after] for token in range(size)])
    parts = []
    for part in rows.split(BATCH_TOKENS):
        hidden = model(input_ids=part, attention_mask=torch.ones_like(part)).last_hidden_state
        parts.append(nn.functional.normalize(hidden.mean(dim=1), dim=-1).numpy())
    return np.concatenate(parts)


def _principal_components(vectors: FloatArray, dim: int) -> FloatArray:
    """Return the centred vectors, projected on the `dim` directions of greatest variance."""
    if dim > vectors.shape[1]:
        raise ParamsError(f"student.dim must be at most {vectors.shape[1]}, got {dim}.")
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    directions: NDArray[np.float64] = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :dim]
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, np.arange(dim)])  # fix arbitrary signs
    return np.ascontiguousarray(centred @ directions, dtype=np.float32)
