"""A project folder with a corpus, small tasks, two hashing teachers and rivals; a trial takes a second or two."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from polydistill.config.params import Params, parse_params
from polydistill.data.ids import pack_ids
from polydistill.data.modalities.text import TextModality
from polydistill.embeddings.extraction import write_embeddings
from polydistill.project.layout import Layout
from polydistill.teachers.hashing import HashingTeacher
from tests.our_params import text_params
from tests.stored_corpus import store_corpus

REPOSITORY = Path(__file__).parents[1]
TEACHERS = {"first": 16, "second": 8}
COMPUTED = ["tfidf-svd", "bm25", "teachers-pca"]
ROWS = 120


def make_comparison_project(root: Path) -> Params:
    """Write data, embeddings and `params.yaml`; return the parameters."""
    kind, generator = TextModality(), np.random.default_rng(0)
    texts = ["".join(generator.choice(list("abcdefgh "), 20)) + str(n) for n in range(2 * ROWS)]
    frame = pd.DataFrame({"id": [kind.content_id(text) for text in texts], "text": texts})
    frame["group"] = [str(row // 2) for row in range(2 * ROWS)]
    corpus, benchmark = frame[:ROWS], frame[ROWS:]
    (root / "data/text").mkdir(parents=True)
    corpus.to_csv(root / "data/text/corpus.csv", index=False)
    split = ["test", "test", "train", "train", "train", "train"] * (ROWS // 6)
    letters = benchmark.assign(label=[text.count("a") for text in benchmark["text"]], split=split)
    letters.to_csv(root / "data/text/letters.csv", index=False)
    starts = benchmark.assign(
        label=["ab"[text[0] > "e"] for text in benchmark["text"]], split=split
    )
    starts.to_csv(root / "data/text/starts.csv", index=False)
    for name, dim in TEACHERS.items():
        for part, rows in (("corpus", corpus), ("benchmark", benchmark)):
            folder = Layout(root, "text").embeddings(part, name)
            teacher = HashingTeacher(name, 1, dim=dim)
            write_embeddings(
                folder, root / "work", pack_ids(rows["id"].tolist()), rows["text"].tolist(), teacher
            )
    tree = text_params()
    tree["threads"] = 1
    tree["text"].update(
        corpus={"path": "data/text/corpus.csv", "rows": ROWS, "held_out": 0.2},
        tasks={
            "letters": {"kind": "regression", "path": "data/text/letters.csv", "domain": "out"},
            "starts": {"kind": "classification", "path": "data/text/starts.csv", "domain": "in"},
        },
        teachers={name: {"family": "hashing", "dim": dim} for name, dim in TEACHERS.items()},
        student={"name": "bag-of-bytes", "dim": 8},
        heads={"name": "low-rank", "hidden": 16},
    )
    tree["text"]["training"].update(epochs=1, batch_size=32, head_warmup_steps=0)
    (root / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    params = parse_params(tree)
    store_corpus(root, params)
    return params


def add_rivals(root: Path) -> Params:
    """Add the rival `other`, the computed rivals, and a retrieval task, the only one that BM25 can do."""
    layout, path = Layout(root, "text"), root / "params.yaml"
    first, other = (layout.embeddings("benchmark", name) for name in ("first", "other"))
    shutil.copytree(first, other)
    rows = pd.read_csv(root / "data/text/starts.csv").drop(columns="split")
    roles = ["query" if row < ROWS // 4 else "corpus" for row in range(ROWS)]
    rows.assign(role=roles).to_csv(root / "data/text/search.csv", index=False)
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    task = {"kind": "retrieval", "path": "data/text/search.csv", "domain": "in"}
    tree["text"]["tasks"]["search"] = task
    tree["text"]["rivals"] = {"other": {"family": "hashing", "dim": TEACHERS["first"]}}
    tree["text"]["evaluation"]["rivals"] = COMPUTED
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return parse_params(tree)
