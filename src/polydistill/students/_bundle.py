"""The files that make a student's folder a sentence-transformers model, without that library."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from polydistill.contracts import Example
from polydistill.students import CARD, WEIGHTS


def as_texts(examples: Sequence[Example]) -> list[str]:
    """Decode what is bytes."""
    return [one if isinstance(one, str) else one.decode("utf-8") for one in examples]


def write_json(path: Path, value: object) -> None:
    """Write sorted, indented JSON: the same value, the same bytes."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_card(folder: Path, name: str, dim: int) -> None:
    """Say in the bundle which student it is."""
    write_json(folder / CARD, {"dim": dim, "name": name})


def write_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write `model.safetensors`."""
    save_file(
        {name: weight.detach().cpu().contiguous() for name, weight in weights.items()},
        folder / WEIGHTS,
        metadata={"format": "pt"},
    )


def write_modules(folder: Path, modules: Sequence[tuple[str, str]]) -> None:
    """Name the sentence-transformers modules, each with the folder of its settings."""
    rows = [
        {
            "idx": place,
            "name": str(place),
            "path": path,
            "type": f"sentence_transformers.models.{kind}",
        }
        for place, (kind, path) in enumerate(modules)
    ]
    write_json(folder / "modules.json", rows)
    write_json(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine"})
