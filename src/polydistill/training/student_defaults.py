"""Default students of the Python interface, with initial weights or a vocabulary from the teachers or the corpus."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from polydistill.config.params import modality_defaults
from polydistill.contracts import Example, Teacher
from polydistill.errors import ParamsError
from polydistill.project.files import write_atomic

VOCABULARY = 20_000
"""Maximum number of tokens of a tokenizer trained on the corpus."""
SPECIAL_TOKENS = ("[PAD]", "[UNK]")
TRANSFORMER_TRAINING = {"learning_rate": 1e-4, "head_warmup_steps": 0}
"""A transformer needs a lower learning rate than a table of embeddings."""


def student_plugin(
    student: str | Mapping[str, Any] | None,
    modality: str,
    teachers: Mapping[str, Teacher],
    examples: Sequence[Example],
    cache: Path,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the student's name and options, and the training settings that it needs.

    Args:
        student: A name, a mapping with `name` and options, or None for the modality's default.
        modality: The modality.
        teachers: The teachers by name; the first transformer provides the tokenizer and initial weights.
        examples: Examples on which a tokenizer is trained if no teacher has one.
        cache: The folder in which a trained tokenizer is stored.

    Raises:
        ParamsError: A transformer student has no checkpoint to start from.
    """
    default = dict(modality_defaults(modality)["student"])
    named = dict(student) if isinstance(student, Mapping) else {"name": student or default["name"]}
    name = named.setdefault("name", default["name"])
    added: dict[str, Any] = {}
    if name == "static" and "tokenizer" not in named:
        added = _static(int(default.get("dim", 256)), teachers, examples, cache)
    elif name == "transformer" and "model" not in named:
        added = _transformer(teachers)
    elif name == default["name"]:
        added = default
    return {**added, **named}, dict(TRANSFORMER_TRAINING) if name == "transformer" else {}


def _static(
    dim: int, teachers: Mapping[str, Teacher], examples: Sequence[Example], cache: Path
) -> dict[str, Any]:
    """Return a static student that starts from the first transformer teacher, or from random vectors."""
    if (folder := _checkpoint(teachers)) is None:
        return {"tokenizer": str(_trained_tokenizer(examples, cache)), "dim": 256}
    config = json.loads((folder / "config.json").read_bytes())
    width = int(config.get("hidden_size") or config.get("dim") or 256)
    tokenizer = str(folder / "tokenizer.json")
    return {"tokenizer": tokenizer, "initial": str(folder), "dim": min(dim, width)}


def _transformer(teachers: Mapping[str, Teacher]) -> dict[str, Any]:
    """Return a transformer student with every second layer of the first transformer teacher."""
    if (folder := _checkpoint(teachers)) is None:
        raise ParamsError(
            "student='transformer' needs a checkpoint to start from, and no teacher provides one: give "
            "student={'name': 'transformer', 'model': <folder>}."
        )
    depth = json.loads((folder / "config.json").read_bytes()).get("num_hidden_layers", 1)
    return {"model": str(folder), "layers": list(range(0, depth, 2))}


def _checkpoint(teachers: Mapping[str, Teacher]) -> Path | None:
    """Return the folder of the first teacher that is a transformer with a fast tokenizer."""
    for teacher in teachers.values():
        folder = getattr(teacher, "folder", None)
        files = ("tokenizer.json", "config.json")
        if isinstance(folder, Path) and all((folder / file).is_file() for file in files):
            return folder
    return None


def _trained_tokenizer(examples: Sequence[Example], cache: Path) -> Path:
    """Return the path of a WordPiece tokenizer trained on the examples; equal examples give an equal file."""
    texts = list(map(str, examples))
    digest = hashlib.sha256("\x1e".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:24]
    target = cache / "tokenizers" / digest / "tokenizer.json"
    if not target.exists():
        write_atomic(target, _train_tokenizer(texts))
    return target


def _train_tokenizer(texts: Sequence[str]) -> str:
    """Return the JSON of a WordPiece tokenizer trained on texts.

    The trainer numbers continuations such as `##a` in the random order of a hash map and breaks ties between merges
    by these numbers. It numbers special tokens first and in order, so continuations are passed as special tokens.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106  no password
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    continuing = set[str]()
    for text in texts:
        normalised = tokenizer.normalizer.normalize_str(text)
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalised):
            continuing.update(word[1:])
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[*SPECIAL_TOKENS, *(f"##{letter}" for letter in sorted(continuing))],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = content["added_tokens"][: len(SPECIAL_TOKENS)]
    return json.dumps(content, indent=2, ensure_ascii=False)
