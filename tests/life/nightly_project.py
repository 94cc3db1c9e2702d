"""The project of a shop: notes of letters, article numbers of digits, two hashing teachers, a bag-of-bytes student.

The student learns a byte only from rows that contain it, so the data of a batch determine its scores.
"""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from polydistill.config.params import load_params, write_resolved
from polydistill.data.modalities.text import TextModality
from polydistill.teachers.hashing import HashingTeacher
from tests.our_params import text_params
from tests.toy_project import CONFIG

REPOSITORY = Path(__file__).parents[2]
LETTERS, DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
TEACHERS = {"letters": {"dim": 5, "n": 1}, "pairs": {"dim": 12, "n": 2}}
ROWS, N_PAIRS, N_TOPICS = 400, 100, 80
TASKS = {
    "notes": {"kind": "sts", "path": "data/text/notes.csv", "domain": "in"},
    "numbers": {"kind": "sts", "path": "data/text/numbers.csv", "domain": "in"},
    "topics": {"kind": "classification", "path": "data/text/topics.csv", "domain": "in"},
}
CHANGES = {
    "corpus": {"path": "data/text/corpus.parquet", "rows": ROWS, "held_out": 0.2},
    "tasks": TASKS,
    "student": {"name": "bag-of-bytes", "dim": 16},
    "heads": {"name": "low-rank", "hidden": 16},
    "geometry_weight": 1.0,
}
TRAINING = {"epochs": 30, "batch_size": 32, "head_warmup_steps": 2, "patience": 50}
NOTIFY = [{"on": ["promoted", "refused", "failed"], "url_env": "SHOP_WEBHOOK"}]
_kind = TextModality()


def make_nightly_project(root: Path, *, smoke_test: bool) -> Path:
    """Write the project with our `dvc.yaml` and sources and its benchmark tasks, but without a corpus.

    Args:
        root: The new folder.
        smoke_test: Whether the gate loads each bundle in a fresh process, which takes seconds.
    """
    skip = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("src", "recipes"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=skip)
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text(CONFIG)
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(REPOSITORY / name, root / name)
    tree = text_params()
    tree |= {"threads": 1, "notify": NOTIFY}
    text = tree["text"]
    text |= CHANGES
    text["teachers"] = {
        name: {"family": "hashing", "licence": "Apache-2.0", **options}
        for name, options in TEACHERS.items()
    }
    text["training"] |= TRAINING
    text["gate"] |= {
        "max_latency_ratio": None
    }  # the latencies are microseconds, and the machine is busy
    text["gate"] |= {"reproducible": "any"}  # the folder is not a git repository
    text["gate"] |= {} if smoke_test else {"smoke_test": False, "max_memory_mb": None}
    (root / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    write_resolved(root, load_params(root))
    _write_tasks(root / "data" / "text")
    return root


def make_batch(seed: int, numbers: int) -> pd.DataFrame:
    """Return a corpus of `ROWS` rows: `numbers` article numbers, then notes."""
    draw = np.random.default_rng([seed, zlib.crc32(b"corpus")])
    texts = [_words(draw, DIGITS if row < numbers else LETTERS) for row in range(ROWS)]
    ids = [_kind.content_id(text) for text in texts]
    return pd.DataFrame({"id": ids, "text": texts, "source": "shop", "group": ids})


def spoil(batch: pd.DataFrame) -> pd.DataFrame:
    """Return a damaged batch: the third row is repeated, and the fifth is empty."""
    spoilt = batch.copy()
    spoilt.loc[3] = spoilt.loc[2]
    spoilt.loc[4, "text"] = ""
    return spoilt


def deliver(root: Path, batch: pd.DataFrame) -> None:
    """Write a corpus into the project."""
    batch.to_parquet(root / "data" / "text" / "corpus.parquet")


def _write_tasks(folder: Path) -> None:
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    teacher = HashingTeacher("letters", 1, **TEACHERS["letters"])
    for name, alphabet in (("notes", LETTERS), ("numbers", DIGITS)):
        left, right = ([_words(draw, alphabet) for _ in range(N_PAIRS)] for _ in range(2))
        label = (teacher.embed(left).values * teacher.embed(right).values).sum(axis=1)
        frame = pd.DataFrame({"text1": left, "text2": right, "label": label.round(4)})
        frame.insert(0, "id", [f"{name}-{row}" for row in range(N_PAIRS)])
        frame.to_csv(folder / f"{name}.csv", index=False)
    halves = [LETTERS[::2] + LETTERS[1:8:2], LETTERS[1::2] + LETTERS[:8:2]]
    texts = [_words(draw, halves[row % 2]) for row in range(N_TOPICS)]
    frame = pd.DataFrame({"text": texts, "label": ["garden", "kitchen"] * (N_TOPICS // 2)})
    frame.insert(0, "id", [_kind.content_id(text) for text in texts])
    frame["group"], frame["split"] = (
        frame["id"],
        ["train", "train", "test", "test"] * (N_TOPICS // 4),
    )
    frame.to_csv(folder / "topics.csv", index=False)


def _words(draw: np.random.Generator, alphabet: str) -> str:
    words = draw.integers(4, 8, 3)
    return " ".join("".join(draw.choice(list(alphabet), n)) for n in words)
