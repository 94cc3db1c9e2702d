"""The files of a finished run, made up: what a report is drawn from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from polydistill.config.params import Params, parse_params
from polydistill.project.layout import Layout
from polydistill.students import STUDENTS
from tests.stored_corpus import store_corpus

MODELS = {
    "student": 0.0,
    "undistilled": -0.045,
    "minilm-l6": 0.021,
    "use-m3": -0.012,
    "paraphrase-l3": 0.008,
    "glove-50d": -0.11,
}
KINDS = {"classification": 0.712, "clustering": 0.461, "regression": 0.603, "sts": 0.611}
TASKS = {
    "wordnet-lexfile": ("classification", "in"),
    "debian-section": ("classification", "in"),
    "wordnet-lexfile-clusters": ("clustering", "in"),
    "brown-genre": ("classification", "out"),
    "vader-tweets": ("regression", "out"),
    "vader-movie": ("regression", "out"),
    "simlex": ("sts", "out"),
}
STUDENT_SHA256 = "5f" * 32
Json = dict[str, Any]


def example_params(**changes: object) -> Params:
    """Return parameters whose teachers need no weights; `changes` go into the text block."""
    teachers = {name: {"family": "hashing", "dim": 8} for name in list(MODELS)[2:]}
    block: Json = {
        "corpus": {"path": "data/corpus.parquet", "rows": 40, "held_out": 0.1},
        "tasks": {
            name: {"kind": kind, "path": f"data/{name}.parquet", "domain": domain}
            for name, (kind, domain) in TASKS.items()
        },
        "teachers": teachers,
        "store": {},
        "student": {"name": "static"},
        "heads": {"name": "low-rank"},
        "loss": {"name": "gaussian-nll"},
        "training": {
            "epochs": 1,
            "batch_size": 8,
            "learning_rate": 0.005,
            "head_learning_rate": 0.001,
            "warmup_share": 0.1,
            "head_warmup_steps": 0,
            "weight_decay": 0.01,
            "max_grad_norm": 1.0,
            "evals_per_epoch": 1,
            "patience": 3,
        },
        "evaluation": {"seeds": [0]},
        "gate": {"min_gain": 0.0},
    }
    return parse_params(
        {
            "seed": 0,
            "threads": 1,
            "precision": "float32",
            "modalities": ["text"],
            "text": block | changes,
        }
    )


def example_scores() -> Json:
    """Return model, kind, task: score, different for each."""
    scores: Json = {model: {} for model in MODELS}
    for place, (task, (kind, _)) in enumerate(TASKS.items()):
        for number, (model, shift) in enumerate(MODELS.items()):
            value = KINDS[kind] + shift + 0.013 * ((place * 5 + number * 3) % 7 - 3)
            scores[model].setdefault(kind, {})[task] = round(value, 4)
    return scores


def example_rule(
    name: str, value: float | None, bound: float | None, because: str, **more: object
) -> Json:
    """Return what a rule of the gate found, as `promotion.json` has it; it has passed."""
    rule = {"name": name, "passed": True, "value": value, "bound": bound, "because": because}
    return rule | {"interval": None, "bound_is": "least", "task": None, "skipped": False} | more


def example_verdict() -> Json:
    """Return the verdict on a challenger that passed, as `registry.gate.Verdict` has it."""
    because = "its mean score is 0.6123, champion 3 has 0.6001: a gain of +0.0122."
    return {
        "outcome": "promoted",
        "promoted": True,
        "refused": False,
        "reason": f"Version 4 is promoted: {because}",
        "rules": [
            example_rule("finite", None, None, "finite."),
            example_rule("gain", 0.0122, 0.0, because, interval=[0.0012, 0.0231]),
            *(
                example_rule(
                    "no-regression",
                    change,
                    -0.02,
                    why,
                    interval=[change - 0.01, change + 0.01],
                    task=task,
                )
                for task, change, why in (
                    ("simlex", -0.0123, "lower."),
                    ("brown-genre", 0.01, "not."),
                )
            ),
            example_rule("no-harm", 0.1, -0.02, "not lower.", interval=[0.05, 0.15], task="simlex"),
            example_rule("latency-ratio", 1.02, 1.25, "as fast.", bound_is="most"),
        ],
        "challenger": 4,
        "champion": 3,
        "student_sha256": STUDENT_SHA256,
        "dry_run": False,
    }


def example_history(teachers: list[str] | None = None) -> pd.DataFrame:
    """Return falling losses of each teacher."""
    rows = [
        (step, teacher, split, 1.42 - 0.03 * place + 0.5 * np.exp(-step / 150) + gap)
        for place, teacher in enumerate(teachers or list(MODELS)[2:])
        for split, gap in (("train", 0.0), ("held-out", 0.03))
        for step in range(0, 720, 20 if split == "train" else 90)
    ]
    return pd.DataFrame(rows, columns=["step", "teacher", "split", "nats"])


def write_run(root: Path, *, without: tuple[str, ...] = (), **changes: Json) -> Layout:
    """Write every file of a run but those named in `without`; `changes` replace their content."""
    layout = Layout(root, "text")
    distillation = {
        "best_step": 630,
        "coverage_90": {"use-m3": 0.8961, "glove-50d": 0.9},
        "dim": 16,
        "held_out": {},
        "held_out_mean": 1.2,
        "n_held_out": 1200,
        "n_parameters": 480,
        "n_train": 22800,
        "steps": 712,
        "student_sha256": STUDENT_SHA256,
    }
    rule = {
        "because": "an id occurs twice",
        "column": "id",
        "count": 0,
        "success": True,
        "table": "corpus",
        "type": "expect_column_values_to_be_unique",
    }
    contents: dict[str, tuple[Path, Json]] = {
        "scores": (layout.scores, example_scores()),
        "verdict": (layout.verdict, example_verdict()),
        "validation": (layout.validation, {"rules": [rule], "success": True, "unavailable": []}),
        "local_status": (layout.local_status, {"available": {"lee": 1225}, "unavailable": []}),
        "distillation": (layout.distillation, distillation),
    }
    for name, (path, content) in contents.items():
        if name not in without:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(changes.get(name, content)), encoding="utf-8")
    layout.student.mkdir(parents=True, exist_ok=True)
    save_file({"embedding.weight": torch.zeros(30, 16)}, layout.student / "model.safetensors")
    if "history" not in without:
        example_history().to_parquet(layout.history, index=False)
    return layout


def write_measurable_run(root: Path) -> Params:
    """Write a finished run with a student that can embed, and a corpus."""
    layout = write_run(root)
    (layout.student / "model.safetensors").unlink()
    texts = [f"the text number {number}" for number in range(40)]
    generator = torch.Generator().manual_seed(0)
    STUDENTS.get("bag-of-bytes").build(texts, generator, dim=8).save(layout.student)
    corpus = pd.DataFrame({"id": texts, "text": texts, "source": "made", "group": texts})
    (root / "data").mkdir(exist_ok=True)
    corpus.to_parquet(root / "data" / "corpus.parquet")
    params = example_params(
        teachers={
            "quick": {"family": "hashing", "dim": 8},
            "absent": {"family": "hashing", "dim": 4},
        }
    )
    store_corpus(root, params)
    return params


def example_predictions(scores: Json, n: int = 150) -> pd.DataFrame:
    """Return scores per example of which the means are `scores`; models differ on the same examples."""
    generator = np.random.default_rng(0)
    parts = []
    shared = {
        task: generator.normal(size=n)
        for kinds in scores.values()
        for by in kinds.values()
        for task in by
    }
    for model, kinds in scores.items():
        for tasks in kinds.values():
            for task, score in tasks.items():
                noise = 0.2 * shared[task] + 0.02 * generator.normal(size=n)
                columns = {
                    "task": task,
                    "example": [f"{task} {number}" for number in range(n)],
                    "seed": 0,
                    "model": model,
                    "prediction": "",
                    "target": "",
                    "score": score + noise - noise.mean(),
                }
                parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def write_predicted_run(root: Path) -> Layout:
    """Write a run with predictions; the student is better than the undistilled one on every task but simlex."""
    scores = example_scores()
    for kind, tasks in scores["student"].items():
        for task in tasks:
            scores["undistilled"][kind][task] = round(tasks[task] - 0.05, 4)
    scores["undistilled"]["sts"]["simlex"] = round(scores["student"]["sts"]["simlex"] - 0.01, 4)
    scores["undistilled"]["sts"]["simlex"] += 0.02
    layout = write_run(root, scores=scores)
    example_predictions(scores).to_parquet(layout.predictions, index=False)
    return layout


def write_large_run(root: Path) -> Params:
    """Write a run with 50 tasks, 12 teachers and training curves, and return its parameters."""
    kinds = ("classification", "clustering", "regression", "retrieval", "sts")
    tasks = {f"a-task-with-a-long-name-{n:02}": kinds[n % len(kinds)] for n in range(50)}
    teachers = [f"teacher-with-a-long-name-{n:02}" for n in range(12)]
    generator = np.random.default_rng(1)
    scores: Json = {model: {} for model in ("student", "undistilled", *teachers)}
    for model in scores:
        for task, kind in tasks.items():
            scores[model].setdefault(kind, {})[task] = round(float(generator.uniform(0.3, 0.9)), 4)
    layout = write_run(root, scores=scores)
    example_predictions(scores, n=40).to_parquet(layout.predictions, index=False)
    example_history(teachers).to_parquet(layout.history, index=False)
    rows = {
        name: {"kind": kind, "path": f"data/{name}.parquet", "domain": "out"}
        for name, kind in tasks.items()
    }
    return example_params(
        tasks=rows, teachers={name: {"family": "hashing", "dim": 8} for name in teachers}
    )


def write_mapped_run(root: Path) -> Params:
    """Write a run with predictions, a corpus and a student that can embed, so that the page has a map."""
    write_measurable_run(root)
    layout, params = write_predicted_run(root), example_params()
    (layout.student / "model.safetensors").unlink()
    texts = [f"the text number {number}" for number in range(40)]
    generator = torch.Generator().manual_seed(0)
    STUDENTS.get("bag-of-bytes").build(texts, generator, dim=8).save(layout.student)
    return params
