"""A small transformer: a checkpoint, whole or with some of its layers, or a fresh one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polydistill.contracts import Example
from polydistill.data.weights import locate
from polydistill.errors import ParamsError
from polydistill.students import STUDENTS
from polydistill.students._bundle import (
    SavedStudent,
    as_texts,
    drawn_from,
    write_json,
    write_modules,
)


@STUDENTS.register("transformer")
class TransformerStudent(SavedStudent):
    """See `contracts.Student`. Its folder loads as a sentence-transformers `Transformer` and `Pooling`.

    Args:
        module: A transformers encoder.
        tokenizer: Its fast tokenizer.
        pooling: How tokens become one embedding: `mean`, or the first one, `cls`.
        max_tokens: Later tokens of an example are left out.
    """

    name = "transformer"

    def __init__(self, module: Any, tokenizer: Any, pooling: str, max_tokens: int) -> None:
        if pooling not in ("mean", "cls"):
            raise ParamsError(f"student.pooling must be 'mean' or 'cls', got {pooling!r}.")
        if getattr(module, "pooler", None) is not None:
            module.pooler = None  # unused here; missing from many checkpoints, and then random
        self.module: nn.Module = module
        self.dim = int(module.config.hidden_size)
        self._encoder = module
        self._tokenizer = tokenizer
        self._pooling = pooling
        self._max_tokens = max_tokens

    @classmethod
    def build(  # noqa: PLR0913 - its keywords are the options in params.yaml
        cls,
        examples: Sequence[Example],  # noqa: ARG003
        generator: torch.Generator,
        threads: int,
        *,
        model: str,
        revision: str | None = None,
        layers: Sequence[int] | None = None,
        fresh: Mapping[str, object] | None = None,
        pooling: str = "mean",
        max_tokens: int = 64,
    ) -> TransformerStudent:
        """Make a student that has learned nothing yet from the teachers.

        Args:
            examples: Unused; every student is given the corpus.
            generator: Of a fresh model's weights.
            threads: Of torch.
            model: A folder with a checkpoint and its tokenizer; see `locate.locate`.
            revision: Of `model`, when it is on a hub.
            layers: Which of its layers to keep, from 0 on; none: all.
            fresh: Start from random weights, with these changes to the checkpoint's configuration:
                `{num_hidden_layers: 2}`. They may be none: `{}`.
            pooling: `mean` over the tokens, or `cls`.
            max_tokens: Later tokens of an example are left out.

        Raises:
            ParamsError: There is no such layer, or no such pooling.
            MissingDataError: `model` does not lead anywhere.
        """
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        torch.set_num_threads(threads)
        folder = locate(model, revision=revision)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        encoder: Any
        if fresh is None:
            encoder = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        else:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, **dict(fresh))
            with drawn_from(generator):
                encoder = AutoModel.from_config(config, dtype=torch.float32)
        if layers is not None:
            _keep_layers(encoder, layers)
        return cls(encoder, tokenizer, pooling, max_tokens)

    @classmethod
    def load(cls, folder: Path) -> TransformerStudent:
        """See `students.load_student`."""
        from transformers import AutoModel, AutoTokenizer

        encoder = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        pooling = json.loads((folder / "1_Pooling/config.json").read_text(encoding="utf-8"))
        settings = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))
        mode = "cls" if pooling["pooling_mode_cls_token"] else "mean"
        return cls(encoder, tokenizer, mode, settings["max_seq_length"])

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `contracts.Student.collate`."""
        features = self._tokenizer(
            as_texts(examples),
            padding=True,
            truncation=True,
            max_length=self._max_tokens,
            return_tensors="pt",
            return_token_type_ids=False,
        )
        return dict(features)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """See `contracts.Student.forward`."""
        tokens: Tensor = self.module(**features).last_hidden_state  # (batch, tokens, dim)
        if self._pooling == "cls":
            return tokens[:, 0]
        mask = features["attention_mask"].unsqueeze(-1).to(tokens.dtype)
        return (tokens * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)

    def _write(self, folder: Path) -> None:
        self._encoder.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        for key in ("transformers_version", "_name_or_path"):  # same weights, same bytes
            config.pop(key, None)
        write_json(folder / "config.json", config)
        self._tokenizer.save_pretrained(folder)
        (folder / "1_Pooling").mkdir(exist_ok=True)
        pooling = {
            "word_embedding_dimension": self.dim,
            "pooling_mode_cls_token": self._pooling == "cls",
            "pooling_mode_mean_tokens": self._pooling == "mean",
        }
        write_json(folder / "1_Pooling/config.json", pooling)
        settings = {"do_lower_case": False, "max_seq_length": self._max_tokens}
        write_json(folder / "sentence_bert_config.json", settings)
        write_modules(folder, [("Transformer", ""), ("Pooling", "1_Pooling")])


def _keep_layers(encoder: Any, layers: Sequence[int]) -> None:
    """Cut a transformer down to some of its layers."""
    depth = encoder.config.num_hidden_layers
    if not layers or not set(layers) <= set(range(depth)):
        raise ParamsError(f"student.layers must be among 0 to {depth - 1}, got {list(layers)}.")
    for parent in encoder.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == depth:
                setattr(parent, name, nn.ModuleList([child[layer] for layer in layers]))
                encoder.config.num_hidden_layers = len(layers)
                return
    raise ParamsError(f"student.layers: {type(encoder).__name__} has no list of {depth} layers.")
