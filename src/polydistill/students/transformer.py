"""A small transformer: a checkpoint, some of its layers, or the same architecture with random weights."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from polydistill.config.nodes import Count
from polydistill.contracts import Example
from polydistill.data.weights import locate
from polydistill.errors import ParamsError
from polydistill.project.files import write_atomic
from polydistill.students import STUDENTS, WEIGHTS, _bundle


@STUDENTS.register("transformer")
class TransformerStudent(_bundle.SavedStudent):
    """See `contracts.Student`. Its bundle loads as a sentence-transformers `Transformer` and `Pooling`.

    Args:
        module: An encoder of the transformers library.
        tokenizer: The fast tokenizer of the encoder.
        pooling: `mean` over the tokens, or `cls`, the first token.
        max_tokens: The number of tokens after which an example is truncated.
    """

    name = "transformer"
    reader: ClassVar[str] = "Transformer"
    """The class of the bundle's first module in sentence-transformers."""
    module: Any

    def __init__(self, module: Any, tokenizer: Any, pooling: str, max_tokens: int) -> None:
        if pooling not in ("mean", "cls"):
            raise ParamsError(f"student.pooling must be 'mean' or 'cls', got {pooling!r}.")
        if getattr(module, "pooler", None) is not None:
            module.pooler = None  # the pooler is not used, and its weights are random if the checkpoint lacks them
        self.module, self.dim = module, int(module.config.hidden_size)
        self._tokenizer, self._pooling, self._max_tokens = tokenizer, pooling, max_tokens

    @classmethod
    def build(  # noqa: PLR0913 - its keywords are the options in params.yaml
        cls,
        examples: Sequence[Example],  # noqa: ARG003
        generator: torch.Generator,
        *,
        model: str,
        revision: str | None = None,
        layers: Sequence[int] | None = None,
        fresh: Mapping[str, object] | None = None,
        pooling: str = "mean",
        max_tokens: Count = 64,
    ) -> Self:
        """Return a student before distillation.

        Args:
            examples: Unused.
            generator: The random generator of the weights, if `fresh` is given.
            model: A folder with a checkpoint and its tokenizer; see `data.weights.locate`.
            revision: The full commit of `model`, if it is on the hub.
            layers: The indices of the layers to keep, from 0; None: all layers.
            fresh: Use random weights, with these changes to the checkpoint's configuration, such as
                `{num_hidden_layers: 2}` or `{}`; None: use the checkpoint's weights.
            pooling: `mean` over the tokens, or `cls`.
            max_tokens: The number of tokens after which an example is truncated.

        Raises:
            ParamsError: A layer does not exist, or the pooling is unknown.
            MissingDataError: The folder `model` does not exist.
        """
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        folder = locate(model, revision=revision)
        tokenizer = _canonical(AutoTokenizer.from_pretrained(folder, local_files_only=True))
        encoder: Any
        if fresh is None:
            encoder = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        else:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, **dict(fresh))
            with _bundle.drawn_from(generator):
                encoder = AutoModel.from_config(config, dtype=torch.float32)
        if layers is not None:
            _keep_layers(encoder, layers)
        return cls(encoder, tokenizer, pooling, max_tokens)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `students.load_student`."""
        from transformers import AutoModel, AutoTokenizer

        encoder = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        pooling = _bundle.read_json(folder / "1_Pooling/config.json")
        mode = "cls" if pooling["pooling_mode_cls_token"] else "mean"
        max_tokens = _bundle.read_json(folder / "sentence_bert_config.json")["max_seq_length"]
        return cls(encoder, tokenizer, mode, max_tokens)

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `contracts.Student.collate`."""
        features = self._tokenizer(
            _bundle.as_texts(examples),
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
        return _bundle.mean_over_tokens(tokens, features["attention_mask"])

    @property
    def onnx_preprocessing(self) -> Mapping[str, object]:
        """See `contracts.OnnxExportable`."""
        return {"add_special_tokens": True, "max_tokens": self._max_tokens}

    def onnx_module(self) -> nn.Module:
        """See `contracts.OnnxExportable`. ONNX Runtime is fastest with attention as plain matrix products."""
        module = copy.deepcopy(self.module)
        module.set_attn_implementation("eager")
        plain = TransformerStudent(module, self._tokenizer, self._pooling, self._max_tokens)

        def embed(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return plain.forward({"input_ids": input_ids, "attention_mask": attention_mask})

        return _bundle.TokenModule(module, embed)

    def int8_onnx_module(self) -> None:
        """See `contracts.OnnxExportable`."""

    def onnx_inputs(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `contracts.OnnxExportable`."""
        return self.collate(examples)

    def onnx_tokenizer(self) -> str:
        """See `contracts.OnnxExportable`."""
        return str(self._tokenizer.backend_tokenizer.to_str(pretty=True))

    def _write(self, folder: Path) -> None:
        self.module.save_pretrained(folder)
        weights = folder / WEIGHTS
        write_atomic(weights, weights.read_bytes())  # safetensors lets no other user read its files
        # without these keys, equal students are saved as equal bytes
        _bundle.remove_keys(folder / "config.json", "transformers_version", "_name_or_path")
        self._tokenizer.save_pretrained(folder)
        _bundle.remove_keys(folder / "tokenizer_config.json", "is_local", "local_files_only")
        (folder / "1_Pooling").mkdir(exist_ok=True)
        pooling = {
            "word_embedding_dimension": self.dim,
            "pooling_mode_cls_token": self._pooling == "cls",
            "pooling_mode_mean_tokens": self._pooling == "mean",
        }
        _bundle.write_json(folder / "1_Pooling/config.json", pooling)
        settings = {"do_lower_case": False, "max_seq_length": self._max_tokens}
        _bundle.write_json(folder / "sentence_bert_config.json", settings)
        _bundle.write_modules(folder, [(self.reader, ""), ("Pooling", "1_Pooling")])


def _canonical(tokenizer: Any) -> Any:
    """Return a fast tokenizer that reads canonical texts; those of a model's own class lose the step when loaded."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=_bundle.canonicalise(tokenizer.backend_tokenizer),
        model_input_names=tokenizer.model_input_names,
        model_max_length=tokenizer.model_max_length,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        **tokenizer.special_tokens_map,
    )


def _keep_layers(encoder: Any, layers: Sequence[int]) -> None:
    """Keep only the layers with these indices, in place."""
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
