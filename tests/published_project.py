"""A project in which all stages have run, with a bag-of-bytes student. It is written in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
import yaml

from polydistill.config.params import parse_params
from polydistill.contracts import Student
from polydistill.project.layout import Layout
from polydistill.registry.publication import dvc_hash
from polydistill.students import load_student, weights_digest
from polydistill.students.bag_of_bytes import BagOfBytesStudent
from tests.our_params import ONLY_GAIN, text_params
from tests.stored_corpus import store_corpus

REPOSITORY = Path(__file__).parents[1]
DATA_MD5 = "0123456789abcdef0123456789abcdef.dir"
TEACHERS = ("minilm-l6", "glove-50d")
DIM = 8
TASKS: dict[str, dict[str, object]] = {
    "simlex": {"kind": "sts", "path": "data/text/simlex.csv", "domain": "out"},
    "wordnet-lexfile": {
        "kind": "classification",
        "path": "data/text/wordnet-lexfile.csv",
        "domain": "in",
    },
}
IDS = {"simlex": ["p1", "p2"], "wordnet-lexfile": [f"e{n}" for n in range(8)]}


def make_evaluated_project(root: Path, *, seed: int = 0, score: float = 0.5) -> Path:
    """Write all outputs of the stages of the modality `text`."""
    (root / "data/text").mkdir(parents=True)
    tree = text_params()
    tree["text"]["corpus"]["rows"] = 2
    tree["text"]["tasks"] = TASKS
    tree["text"]["gate"] = ONLY_GAIN  # tests/integrations/test_gate.py tests the other rules
    (root / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    (root / "dvc.yaml").write_bytes((REPOSITORY / "dvc.yaml").read_bytes())
    (root / "data.dvc").write_text(f"outs:\n- md5: {DATA_MD5}\n  path: data\n")
    corpus = {"id": ["a", "b"], "text": ["a cat", "a dog"], "source": "x", "group": ["g", "h"]}
    pd.DataFrame(corpus).to_parquet(root / "data/text/corpus.parquet")
    pairs = {"text1": ["a cow", "a hen"], "text2": ["a bull", "a cock"], "label": [0.9, 0.8]}
    pd.DataFrame({"id": IDS["simlex"], **pairs}).to_csv(root / "data/text/simlex.csv", index=False)
    texts = {"text": [f"a fish of {n} kg" for n in range(8)], "label": ["x", "y"] * 4}
    split = {"group": [f"pond {n // 2}" for n in range(8)], "split": "test"}
    frame = pd.DataFrame({"id": IDS["wordnet-lexfile"], **texts, **split})
    frame.to_csv(root / "data/text/wordnet-lexfile.csv", index=False)
    store_corpus(root, parse_params(tree))
    retrain(root, seed=seed, score=score)
    return root


def retrain(  # noqa: PLR0913 - each test sets a few of them
    root: Path,
    *,
    seed: int,
    score: float,
    modality: str = "text",
    student: Student | None = None,
    tasks: Mapping[str, Mapping[str, object]] = TASKS,
    ids: Mapping[str, Sequence[str]] = IDS,
) -> None:
    """Replace the student and all its files."""
    layout = Layout(root, modality)
    for folder in (layout.heads, layout.reports):
        folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    (student or BagOfBytesStudent.build([], generator, dim=DIM)).save(layout.student)
    load_student(layout.student)
    (layout.heads / "heads.json").write_text("{}")
    rows = [
        {"step": step, "teacher": teacher, "split": split, "nats": 1.0 / step}
        for step in (1, 2)
        for teacher in TEACHERS
        for split in ("train", "held-out")
    ]
    pd.DataFrame(rows).to_parquet(layout.history)
    predictions = [
        {"task": task, "example": one, "seed": 0, "model": model, "target": "1", "score": score}
        for task in tasks
        for one in ids[task]
        for model in ("student", "undistilled")
    ]
    pd.DataFrame(predictions).to_parquet(layout.predictions)
    rule = {"table": "corpus", "type": "expect_column_to_exist", "success": True}
    layout.validation.write_text(json.dumps({"success": True, "rules": [rule]}))
    digest = weights_digest(layout.student)
    distillation = {
        "student": "bag-of-bytes",
        "student_sha256": digest,
        "n_parameters": 256 * DIM,
        "dim": DIM,
        "n_train": 10,
        "steps": 2,
        "best_step": 2,
        "held_out_mean": 0.5,
        "diverged": False,
    }
    layout.distillation.write_text(json.dumps(distillation))
    by_kind: dict[str, dict[str, float]] = {}
    for name, task in tasks.items():
        by_kind.setdefault(str(task["kind"]), {})[name] = score
    layout.scores.write_text(json.dumps({"student": by_kind, "undistilled": by_kind}))
    write_lock(root, modality=modality)


def write_lock(root: Path, *, scored: str | None = None, modality: str = "text") -> None:
    """Write a `dvc.lock` with the hashes of all outputs; `scored` is the hash of another evaluated student."""
    layout = Layout(root, modality)
    data = {"path": f"data/{modality}", "md5": DATA_MD5}

    def rows(*paths: Path) -> list[dict[str, str | None]]:
        return [
            {"path": path.relative_to(root).as_posix(), "md5": dvc_hash(path)} for path in paths
        ]

    (student,) = rows(layout.student)
    other = "text" if modality == "vision" else "vision"
    stages = {
        f"validate@{modality}": {
            "cmd": f"polydistill validate {modality}",
            "deps": [dict(data)],
            "outs": rows(layout.corpus, layout.validation),
        },
        f"embed@{modality}-minilm-l6": {"cmd": f"polydistill embed {modality} minilm-l6"},
        f"distill@{modality}": {
            "cmd": "…",
            "deps": rows(layout.corpus),
            "outs": rows(layout.student, layout.heads, layout.history, layout.distillation),
        },
        f"evaluate@{modality}": {
            "cmd": "…",
            "deps": [dict(data), student | ({"md5": scored} if scored else {})],
            "outs": rows(layout.predictions, layout.scores),
        },
        f"distill@{other}": {"cmd": "of another modality"},
    }
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
