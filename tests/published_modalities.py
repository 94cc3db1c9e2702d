"""Projects of images and molecules in which all stages have run; `published_project` has the one of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import yaml

from polydistill.config.params import parse_params
from polydistill.contracts import Example, Student
from polydistill.data.modalities import MODALITIES
from polydistill.students import STUDENTS
from tests.made_images import TINY_RESNET, png
from tests.our_params import ONLY_GAIN, keep_teachers, our_params
from tests.published_project import DATA_MD5, REPOSITORY, retrain
from tests.stored_corpus import store_corpus


@dataclass(frozen=True)
class Small:
    """A modality with few examples and a student that trains in milliseconds.

    Attributes:
        examples: Distinct; half of them are the corpus, the others a task.
        student: Builds it from a seed.
        enabled: The teachers that take part; they need no weights.
    """

    examples: Sequence[Example]
    student: Callable[[int], Student]
    enabled: Sequence[str]


def _image_encoder(seed: int) -> Student:
    generator = torch.Generator().manual_seed(seed)
    built: Student = STUDENTS.get("image-encoder").build(
        [], generator, encoder=TINY_RESNET, size=32, dim=8
    )
    return built


def _gine(seed: int) -> Student:
    generator = torch.Generator().manual_seed(seed)
    built: Student = STUDENTS.get("gine").build([], generator, layers=2, hidden=8, dim=8)
    return built


SMALL = {
    "vision": Small([png(seed) for seed in range(16)], _image_encoder, ["hog-colour"]),
    "molecules": Small(
        [f"{'C' * n}{end}" for n in range(2, 10) for end in "ON"], _gine, ["morgan", "maccs"]
    ),
}


def make_published(root: Path, modality: str, *, seed: int = 0, score: float = 0.5) -> Path:
    """Write all outputs of the stages of one modality."""
    small, kind = SMALL[modality], MODALITIES.get(modality)()
    folder = root / "data" / modality
    folder.mkdir(parents=True)
    table = pd.DataFrame({kind.column: small.examples})
    table.insert(0, "id", table[kind.column].map(kind.content_id))
    table = table.assign(group=table["id"], source="made")
    corpus, task = table.iloc[::2], table.iloc[1::2]
    corpus.to_parquet(folder / "corpus.parquet")
    labels = ["x", "y"] * (len(task) // 2)
    task.assign(label=labels, split="test").to_parquet(folder / "task.parquet")
    path = f"data/{modality}/task.parquet"
    tasks: dict[str, dict[str, object]] = {
        "letters": {"kind": "classification", "path": path, "domain": "in"}
    }
    tree = our_params()
    block = tree[modality]
    block["corpus"] = {
        "path": f"data/{modality}/corpus.parquet",
        "rows": len(corpus),
        "held_out": 0.2,
    }
    block["tasks"], block["gate"] = tasks, ONLY_GAIN
    keep_teachers(tree, modality, small.enabled)
    for teacher in block["teachers"].values():
        teacher.pop("saw_labels_of", None)
        teacher["licence"] = teacher["licence"] or "MIT"
    tree["modalities"] = [modality]
    (root / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    (root / "dvc.yaml").write_bytes((REPOSITORY / "dvc.yaml").read_bytes())
    (root / "data.dvc").write_text(f"outs:\n- md5: {DATA_MD5}\n  path: data\n")
    store_corpus(root, parse_params(tree), modality)
    retrain(
        root,
        seed=seed,
        score=score,
        modality=modality,
        student=small.student(seed),
        tasks=tasks,
        ids={"letters": task["id"].tolist()},
    )
    return root
