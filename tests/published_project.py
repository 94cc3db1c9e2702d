"""A project whose stages have all run: a bag-of-bytes student with its files, in milliseconds."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import torch
import yaml

from polydistill.layout import Layout
from polydistill.students import load_student, weights_digest
from polydistill.students.bag_of_bytes import BagOfBytesStudent

REPOSITORY = Path(__file__).parents[1]
DATA_MD5 = "0123456789abcdef0123456789abcdef.dir"
TEACHERS = ("minilm-l6", "glove-50d")
DIM = 8


def make_evaluated_project(root: Path, *, seed: int = 0, score: float = 0.5) -> Path:
    """Write everything that the stages leave, for the modality `text`."""
    (root / "data/text").mkdir(parents=True)
    tree = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    tree["text"]["corpus"]["rows"] = 2
    (root / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    (root / "dvc.yaml").write_bytes((REPOSITORY / "dvc.yaml").read_bytes())
    (root / "data.dvc").write_text(f"outs:\n- md5: {DATA_MD5}\n  path: data\n")
    corpus = {"id": ["a", "b"], "text": ["a cat", "a dog"], "source": "x", "group": ["g", "h"]}
    pd.DataFrame(corpus).to_parquet(root / "data/text/corpus.parquet")
    retrain(root, seed=seed, score=score)
    return root


def retrain(root: Path, *, seed: int, score: float) -> None:
    """Put another student there, with all its files."""
    layout = Layout(root, "text")
    for folder in (layout.heads, layout.reports):
        folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    BagOfBytesStudent.build([], generator, 1, dim=DIM).save(layout.student)
    load_student(layout.student)
    (layout.heads / "heads.json").write_text("{}")
    rows = [
        {"step": step, "teacher": teacher, "split": split, "nats": 1.0 / step}
        for step in (1, 2)
        for teacher in TEACHERS
        for split in ("train", "held_out")
    ]
    pd.DataFrame(rows).to_parquet(layout.history)
    pd.DataFrame({"task": ["simlex"], "score": [score]}).to_parquet(layout.predictions)
    digest = weights_digest(layout.student)
    distillation = {
        "student": "bag-of-bytes",
        "student_sha256": digest,
        "n_parameters": 256 * DIM,
        "best_step": 2,
        "held_out_mean": 0.5,
        "diverged": False,
    }
    layout.distillation.write_text(json.dumps(distillation))
    tasks = {"sts": {"simlex": score}, "classification": {"wordnet-lexfile": score}}
    layout.scores.write_text(json.dumps({"student": tasks, "undistilled": tasks}))
    write_lock(root, made=digest, scored=digest)


def write_lock(root: Path, *, made: str, scored: str) -> None:
    """Write what DVC notes of the stages: which student was made, and which was scored."""
    student = "artifacts/text/student"
    stages = {
        "embed@text-minilm-l6": {"cmd": "polydistill embed text minilm-l6"},
        "distill@text": {"cmd": "…", "outs": [{"path": student, "md5": made}]},
        "evaluate@text": {"cmd": "…", "deps": [{"path": student, "md5": scored}]},
        "distill@vision": {"cmd": "of another modality"},
    }
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
