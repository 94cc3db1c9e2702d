"""A project in its own git repository, with a DVC remote and toy stages. It is published in seconds."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import yaml

from polydistill.config.params import load_params, write_resolved
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.processes import run_command
from tests.our_params import keep_teachers, text_params
from tests.published_project import IDS, TASKS

REPOSITORY = Path(__file__).parents[1]
TEACHER = "glove-50d"
STAGES = f"""\
vars: ["params.resolved.yaml:enabled"]
stages:
  embed:
    foreach: ${{enabled.embed}}
    do:
      cmd: python -m toy embed
      deps: [data]
      outs: [artifacts/text/corpus, "artifacts/text/embeddings/corpus/${{item.teacher}}"]
  distill:
    foreach: ${{enabled.modalities}}
    do:
      cmd: python -m toy distill
      deps: [data, artifacts/text/embeddings/corpus, src/toy.py]
      params: [{{params.resolved.yaml: [seed]}}]
      outs: [artifacts/text/student, artifacts/text/undistilled, artifacts/text/heads,
             artifacts/text/history.parquet]
      metrics: [reports/text/distill.json: {{cache: false}}]
  evaluate:
    foreach: ${{enabled.modalities}}
    do:
      cmd: python -m toy evaluate
      deps: [artifacts/text/student, artifacts/text/undistilled]
      outs: [artifacts/text/predictions.parquet]
      metrics: [reports/text/scores.json: {{cache: false}}]
# {TEACHER}
"""
TOY = '''\
"""The code of the stages. It derives numbers from the seed and the data in place of training."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors.numpy import save_file

from polydistill.config.params import load_params
from polydistill.data.preparation import prepare_corpus
from polydistill.data.modalities.text import TextModality

SCALE = 1.0
ARTIFACTS, REPORTS = Path("artifacts/text"), Path("reports/text")


def embed():
    settings = load_params().modality("text").corpus
    with prepare_corpus(Path(), settings, TextModality(), ARTIFACTS / "work") as corpus:
        corpus.publish(ARTIFACTS / "corpus", settings)
    folder = ARTIFACTS / "embeddings/corpus/glove-50d"
    folder.mkdir(parents=True, exist_ok=True)
    corpus = pq.read_table("data/text/corpus.parquet")["text"].to_pylist()
    (folder / "index.json").write_text(json.dumps([len(text) for text in corpus]))


def write_student(folder, weights):
    folder.mkdir(parents=True)
    save_file({"embedding.weight": weights}, folder / "model.safetensors")
    (folder / "student.json").write_text(json.dumps({"dim": 8, "name": "bag-of-bytes"}))
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def distill():
    seed = yaml.safe_load(Path("params.yaml").read_text())["seed"]
    lengths = json.loads(next(ARTIFACTS.glob("embeddings/corpus/*/index.json")).read_text())
    draw = np.random.default_rng([seed, *lengths])
    undistilled = draw.normal(size=(256, 8)).astype(np.float32) * SCALE
    made = {
        "undistilled_sha256": write_student(ARTIFACTS / "undistilled", undistilled),
        "student_sha256": write_student(ARTIFACTS / "student", undistilled + 1),
        "held_out": {"glove-50d": round(float(undistilled.mean()), 6)},
        "held_out_mean": round(float(undistilled.mean()), 6),
        "student": "bag-of-bytes", "n_parameters": 2048, "best_step": 1, "diverged": False,
        "dim": 8, "n_train": 10, "steps": 1,
    }
    (ARTIFACTS / "heads").mkdir()
    (ARTIFACTS / "heads/heads.json").write_text("{}")
    rows = {"step": [1], "teacher": ["glove-50d"], "split": ["held-out"], "nats": [1.0]}
    pq.write_table(pa.table(rows), ARTIFACTS / "history.parquet")
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / "distill.json").write_text(json.dumps(made, sort_keys=True))


def evaluate():
    digest = hashlib.sha256((ARTIFACTS / "student/model.safetensors").read_bytes()).digest()
    score = round(digest[0] / 1000 + 0.5, 4)
    scores = {"student": {"sts": {"simlex": score}}, "undistilled": {"sts": {"simlex": 0.5}}}
    pq.write_table(pa.table({"score": [score]}), ARTIFACTS / "predictions.parquet")
    (REPORTS / "scores.json").write_text(json.dumps(scores, sort_keys=True))


globals()[sys.argv[1]]()
'''
IGNORED = "__pycache__/\n/data\n/artifacts/\n/reports/\n/.polydistill/\n/mlruns/\n/.dvcstore/\n"
CONFIG = """\
[core]
    analytics = false
    check_update = false
    remote = store
['remote "store"']
    url = ../.dvcstore
"""


def make_versioned_project(root: Path) -> Path:
    """Write the project, commit it, push its data, and run its stages."""
    shutil.copytree(
        REPOSITORY / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    (root / "src" / "toy.py").write_text(TOY)
    (root / "flows").mkdir()
    (root / "flows" / "retrain.py").write_text("# order, retries, schedules\n")
    (root / ".gitignore").write_text(IGNORED)
    (root / ".dvcignore").write_text(".polydistill\n**/__pycache__\n")
    (root / "dvc.yaml").write_text(STAGES)
    tree = text_params()
    keep_teachers(tree, "text", [TEACHER])
    tree["text"]["corpus"]["rows"] = 2
    tree["text"]["tasks"] = {"simlex": TASKS["simlex"]}
    (root / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    write_resolved(root, load_params(root))
    (root / "data" / "text").mkdir(parents=True)
    corpus = {"id": ["a", "b"], "text": ["a cat", "a dog"], "source": "x", "group": ["g", "h"]}
    pd.DataFrame(corpus).to_parquet(root / "data/text/corpus.parquet")
    pairs = {"text1": ["a cow", "a hen"], "text2": ["a bull", "a cock"], "label": [0.9, 0.8]}
    pd.DataFrame({"id": IDS["simlex"], **pairs}).to_csv(root / "data/text/simlex.csv", index=False)
    git(root, "init", "--quiet")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text(CONFIG)
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    call_dvc(root, "add", "data")
    call_dvc(root, "repro")
    commit(root, "The first")
    return root


def git(root: Path, *arguments: str) -> str:
    """Run git and return its output."""
    who = ("-c", "user.name=t", "-c", "user.email=t@t")
    command = ["git", "-C", str(root), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def commit(root: Path, message: str) -> str:
    """Commit all files and return the commit."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(root, "rev-parse", "HEAD")


def call_dvc(root: Path, *arguments: str) -> None:
    """Run DVC with the code of the project."""
    environment = {"PYTHONPATH": str(root / "src")}
    finished = run_command(
        [*dvc.DVC, *arguments], root, timeout_s=120, hidden=None, environment=environment
    )
    assert finished.exit_code == 0, "\n".join(finished.lines)
