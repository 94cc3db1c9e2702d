"""A project folder with a small corpus and the embeddings of two hashing teachers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from polydistill.config.params import Params, parse_params
from polydistill.contracts import Embeddings, Example
from polydistill.data.ids import pack_ids
from polydistill.data.modalities.text import TextModality
from polydistill.embeddings.extraction import write_embeddings
from polydistill.project.layout import Layout
from polydistill.stages.distill import distill
from polydistill.teachers.hashing import HashingTeacher
from tests.our_params import text_params
from tests.stored_corpus import store_corpus

REPOSITORY = Path(__file__).parents[1]
SOURCES = f"{REPOSITORY / 'src'}:{REPOSITORY}"
"""PYTHONPATH of a process that runs this file: the sources of this checkout."""
TEACHERS = {"first": 12, "second": 7}
WORDS = np.array(
    [
        "red",
        "green",
        "blue",
        "cat",
        "dog",
        "fish",
        "runs",
        "sleeps",
        "eats",
        "quickly",
        "slowly",
        "never",
    ]
)


class HashingTeacherWithGaps(HashingTeacher):
    """A hashing teacher without an embedding for every tenth example."""

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        whole = super().embed(examples)
        present = np.array([not str(example).endswith("0") for example in examples])
        return Embeddings(whole.values * present[:, None], present)


def small_params(
    *, rows: int = 240, teachers: Mapping[str, int] = TEACHERS, **changes: object
) -> Params:
    """Return parameters with small teachers and a short training; `changes` update or replace parts of the text block."""
    tree = text_params()
    tree["threads"] = 1
    text = tree["text"]
    text["teachers"] = {name: {"family": "hashing", "dim": dim} for name, dim in teachers.items()}
    text["tasks"] = {}
    text["corpus"] |= {"path": "data/corpus.parquet", "rows": rows, "held_out": 0.2}
    text["student"] = {"name": "bag-of-bytes", "dim": 8}
    text["heads"] = {"name": "low-rank", "hidden": 16}
    text["training"] |= {"epochs": 3, "batch_size": 32, "head_warmup_steps": 2}
    for block, change in changes.items():
        text[block] = text[block] | change if isinstance(change, Mapping) else change
    return parse_params(tree)


def make_distill_project(root: Path, rows: int = 240) -> Layout:
    """Write the corpus and the embeddings. The second teacher has none for every tenth row."""
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS, 5)) + f" {row}" for row in range(rows)]
    ids = [TextModality().content_id(text) for text in texts]
    groups = [str(row // 2) for row in range(rows)]
    (root / "data").mkdir(parents=True)
    pd.DataFrame({"id": ids, "text": texts, "source": "made", "group": groups}).to_parquet(
        root / "data" / "corpus.parquet"
    )
    layout = Layout(root, "text")
    kinds = (HashingTeacher, HashingTeacherWithGaps)
    for kind, (name, dim) in zip(kinds, TEACHERS.items(), strict=True):
        folder = layout.embeddings("corpus", name)
        teacher = kind(name, 1, dim=dim)
        write_embeddings(folder, root / "work", pack_ids(ids), texts, teacher)
    store_corpus(root, small_params(rows=rows))
    return layout


def add_teacher(layout: Layout, name: str, dim: int, n: int = 2) -> None:
    """Embed the corpus with one more hashing teacher; an existing teacher of that name is replaced."""
    corpus = pd.read_parquet(layout.root / "data" / "corpus.parquet")
    folder = layout.embeddings("corpus", name)
    shutil.rmtree(folder, ignore_errors=True)
    teacher = HashingTeacher(name, 1, dim=dim, n=n)
    ids, texts = corpus["id"].tolist(), corpus["text"].tolist()
    write_embeddings(folder, layout.root / "work", pack_ids(ids), texts, teacher)


def outputs(layout: Layout) -> dict[str, bytes]:
    """Return the content of every output file of the stage."""
    made = [layout.student, layout.undistilled, layout.heads, layout.history, layout.reports]
    files = [file for path in made for file in ([path] if path.is_file() else path.rglob("*"))]
    return {str(f.relative_to(layout.root)): f.read_bytes() for f in files if f.is_file()}


def die_at(step: int, params: Params) -> None:
    """Distil the project in the current folder, and kill this process at `step`."""

    def record_progress(what: str, done: int, total: int, **figures: float) -> None:
        if done >= step:
            os.kill(os.getpid(), signal.SIGKILL)

    distill(Path(), params, "text", progress=record_progress)


if __name__ == "__main__":
    die_at(
        int(sys.argv[1]),
        parse_params(json.loads(sys.argv[2])) if len(sys.argv) > 2 else small_params(),
    )
