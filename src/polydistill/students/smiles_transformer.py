"""A transformer whose tokens are the atoms and marks of a SMILES; the tokenizer is built from the corpus."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from polydistill.config.nodes import Count, Depth, Width
from polydistill.contracts import Example
from polydistill.data.smiles import require_smiles
from polydistill.students import STUDENTS
from polydistill.students._bundle import drawn_from, remove_keys
from polydistill.students.transformer import TransformerStudent

ATOM_OR_MARK = r"\[[^\]]*\]|Br|Cl|%\d\d|[A-Za-z]|\d|[^A-Za-z\d]"
"""A token: an atom in brackets, an element (lower case if aromatic), a ring number, or one other character, a mark."""
SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


@STUDENTS.register("smiles-transformer")
class SmilesTransformerStudent(TransformerStudent):
    """See `contracts.Student`. The student converts every SMILES to its canonical form.

    sentence-transformers loads its bundle with `trust_remote_code=True`: the conversion is polydistill's code.
    """

    name = "smiles-transformer"
    reader = "polydistill.students._canonical_smiles.CanonicalSmiles"

    @classmethod
    def build(  # type: ignore[override] # noqa: PLR0913 - its keywords are the options in params.yaml
        cls,
        examples: Sequence[Example],
        generator: torch.Generator,
        *,
        dim: Width = 256,
        layers: Depth = 6,
        heads: Width = 4,
        pooling: str = "mean",
        max_tokens: Count = 160,
        min_count: Count = 3,
    ) -> Self:
        """Return a student with random weights, and a vocabulary of the atoms and marks in the corpus.

        Args:
            examples: The corpus, from which the vocabulary is built.
            generator: The random generator of the weights.
            dim: The width of the embeddings and of every layer.
            layers: The number of layers.
            heads: The number of attention heads.
            pooling: `mean` over the tokens, or `cls`.
            max_tokens: The number of tokens after which a SMILES is truncated.
            min_count: The minimum number of occurrences in the corpus; rarer tokens are not in the vocabulary.
        """
        from transformers import BertConfig, BertModel

        tokenizer = make_tokenizer(examples, min_count, max_tokens)
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=dim,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * dim,
            max_position_embeddings=max_tokens,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        with drawn_from(generator):
            encoder = BertModel(config, add_pooling_layer=False)
        return cls(encoder, tokenizer, pooling, max_tokens)

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `contracts.Student.collate`.

        Raises:
            DataError: An example is not a valid SMILES.
        """
        return super().collate([require_smiles(example) for example in examples])

    @property
    def onnx_preprocessing(self) -> Mapping[str, object]:
        """See `contracts.OnnxExportable`."""
        first = "bring the SMILES to RDKit's canonical form: Chem.MolToSmiles(Chem.MolFromSmiles(smiles))"
        return {"steps": first, **super().onnx_preprocessing}

    def _write(self, folder: Path) -> None:
        super()._write(folder)
        # these keys describe how the tokenizer was loaded, not the tokenizer
        remove_keys(folder / "tokenizer_config.json", "is_local", "local_files_only")


def make_tokenizer(examples: Sequence[Example], min_count: int, max_tokens: int) -> Any:
    """Return a fast tokenizer whose vocabulary holds the frequent tokens of the examples, most frequent first."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIAL["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(ATOM_OR_MARK), behavior="isolated")
    trainer = trainers.WordLevelTrainer(
        vocab_size=10**6,  # no limit
        min_frequency=min_count,
        special_tokens=[*SPECIAL.values()],
        show_progress=False,
    )
    tokenizer.train_from_iterator(map(require_smiles, examples), trainer)
    marks = [SPECIAL["cls_token"], SPECIAL["sep_token"]]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{marks[0]} $A {marks[1]}",
        special_tokens=[(mark, tokenizer.token_to_id(mark)) for mark in marks],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_tokens, **SPECIAL
    )
