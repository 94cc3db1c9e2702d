"""Small tasks of texts whose content id is the text itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from polydistill.evaluation.rivals import RivalData, TeacherTables
from polydistill.evaluation.task import BenchmarkTask, TaskSource
from polydistill.evaluation.tasks import BENCHMARKS

WORDS = {
    "animal": "cat dog horse cow",
    "tool": "hammer saw drill nail",
    "sky": "cloud rain star sun",
}


def rival_data(
    texts: Sequence[str], teachers: Mapping[str, TeacherTables] | None = None, dim: int = 8
) -> RivalData:
    return RivalData(texts, texts, dim, lambda: teachers or {})


def topic_frame(n: int = 60) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    topics = [sorted(WORDS)[number % 3] for number in range(n)]
    texts = [" ".join([*generator.choice(WORDS[one].split(), 3), f"n{at}"]) for at, one in enumerate(topics)]  # fmt: skip
    split = np.where(np.arange(n) % 3 == np.arange(n) // 3 % 3, "test", "train")
    columns = {"text": texts, "label": topics, "group": range(n), "split": split}
    return pd.DataFrame({"id": [f"row-{at}" for at in range(n)], **columns})


def passage_frame() -> pd.DataFrame:
    rows = [
        ("q1", "query", "one", "quick fox"),
        ("q2", "query", "two", "lazy dog and a dog"),
        ("p1", "corpus", "one", "the quick brown fox jumps over the lazy dog"),
        ("p2", "corpus", "two", "a lazy dog sleeps all day"),
        ("p3", "corpus", "three", "the stock market fell"),
    ]
    return pd.DataFrame(rows, columns=["id", "role", "label", "text"])


def task(kind: str, frame: pd.DataFrame) -> BenchmarkTask:
    return BENCHMARKS.get(kind)(TaskSource("toy", frame, "text", str))
