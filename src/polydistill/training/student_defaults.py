"""Default students of the Python interface, with initial weights or a vocabulary from the teachers or the corpus."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polydistill.config.compose import modality_defaults
from polydistill.contracts import Example, Teacher
from polydistill.errors import ParamsError
from polydistill.project.files import put_in_place

VOCABULARY = 20_000
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
        cache: The folder for that tokenizer.

    Raises:
        ParamsError: A transformer student has no checkpoint to start from.
    """
    default = dict(modality_defaults(modality)["student"])
    named = dict(student) if isinstance(student, Mapping) else {"name": student or default["name"]}
    name = named.get("name", default["name"])
    if name == "static" and "tokenizer" not in named:
        named = {**_static(default, teachers, examples, cache), **named}
    elif name == "transformer" and "model" not in named:
        named = {**_transformer(teachers), **named}
    elif name == default["name"]:
        named = {**default, **named}
    return named, dict(TRANSFORMER_TRAINING) if name == "transformer" else {}


def _static(
    default: Mapping[str, Any],
    teachers: Mapping[str, Teacher],
    examples: Sequence[Example],
    cache: Path,
) -> dict[str, Any]:
    """Return a static student that starts from the first transformer teacher, or from random vectors."""
    for folder in _checkpoints(teachers):
        width = _width(folder)
        return {
            "name": "static",
            "tokenizer": str(folder / "tokenizer.json"),
            "initial": str(folder),
            "dim": min(int(default.get("dim", 256)), width),
        }
    return {"name": "static", "tokenizer": str(_trained_tokenizer(examples, cache)), "dim": 256}


def _transformer(teachers: Mapping[str, Teacher]) -> dict[str, Any]:
    """Return a transformer student with every second layer of the first transformer teacher."""
    for folder in _checkpoints(teachers):
        depth = json.loads((folder / "config.json").read_text("utf-8")).get("num_hidden_layers", 1)
        return {"name": "transformer", "model": str(folder), "layers": list(range(0, depth, 2))}
    raise ParamsError(
        "student='transformer' needs a checkpoint to start from, and no teacher provides one: give "
        "student={'name': 'transformer', 'model': <folder>}."
    )


def _checkpoints(teachers: Mapping[str, Teacher]) -> list[Path]:
    """Return the folders of teachers that hold a transformer with its fast tokenizer."""
    folders = (getattr(teacher, "folder", None) for teacher in teachers.values())
    return [
        folder
        for folder in folders
        if isinstance(folder, Path)
        and (folder / "tokenizer.json").is_file()
        and (folder / "config.json").is_file()
    ]


def _width(folder: Path) -> int:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config.get("hidden_size") or config.get("dim") or 256)


def _trained_tokenizer(examples: Sequence[Example], cache: Path) -> Path:
    """Return the path of a WordPiece tokenizer trained on the examples; equal examples give an equal file."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    texts = [one if isinstance(one, str) else one.decode("utf-8") for one in examples]
    digest = hashlib.sha256("\x1e".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:24]
    target = cache / "tokenizers" / digest / "tokenizer.json"
    if not target.exists():
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106  no password
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=VOCABULARY, special_tokens=["[PAD]", "[UNK]"], show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        made = target.with_name("unfinished.json")
        made.parent.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(made))
        put_in_place(made, target)
    return target
