"""A small project with our stages, flows and `prefect.yaml`, whose teachers and student need no weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from polydistill.config.params import load_params, write_resolved
from polydistill.data.modalities.text import TextModality
from tests.our_params import text_params

REPOSITORY = Path(__file__).parents[2]
LIMIT_S = 900.0
ROWS, TASK_ROWS = 240, 60
TEACHERS = {"first": 12, "second": 8}
FILES = ("dvc.yaml", "prefect.yaml", ".dvcignore", ".gitignore")
TASK_SEED = 1000
LENIENT = {
    "min_gain": -1.0,
    "max_regression_per_task": 1.0,
    "min_gain_over_undistilled": -1.0,
    "max_harm_per_task": 1.0,
    "max_latency_ratio": None,
}
"""A gate that every student passes: these tests check the services, not the student."""


@dataclass(frozen=True)
class Output:
    """The exit code of a command, and its output on both streams."""

    code: int
    text: str


@dataclass(frozen=True)
class Shell:
    """Runs commands with the environment variables of the services, and records their output."""

    environment: Mapping[str, str]
    transcript: list[str] = field(default_factory=list)

    def run(self, folder: Path, *words: str, code: int = 0, **changes: str | None) -> Output:
        """Run a command in a folder and check its exit code. A change of None removes an environment variable."""
        both = {**self.environment, **changes}
        environment = {name: value for name, value in both.items() if value is not None}
        ended = subprocess.run(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=LIMIT_S,
        )
        self.transcript.append(f"$ {' '.join(words)}\n{ended.stdout}")
        assert ended.returncode == code, self.transcript[-1]
        return Output(ended.returncode, ended.stdout)

    def polydistill(
        self, folder: Path, *words: str, code: int = 0, **changes: str | None
    ) -> Output:
        """Run a `polydistill` command."""
        return self.run(folder, "polydistill", *words, code=code, **changes)

    def retrain(self, folder: Path, *, code: int = 0, **changes: str | None) -> Output:
        """Run the whole flow by hand."""
        words = (sys.executable, "-m", "flows.retrain", "text")
        return self.run(folder, *words, code=code, **changes)


def make_live_project(root: Path, shell: Shell, remote: str, endpoint: str | None) -> Path:
    """Write the project, add it to git and DVC, and push its data to a remote; with an endpoint, the remote is S3."""
    root.mkdir()
    for name in ("src", "flows", "recipes"):
        shutil.copytree(
            REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in FILES:
        shutil.copy(REPOSITORY / name, root / name)
    _write_params(root)
    write_data(root, seed=0)
    shell.run(root, "git", "init", "--quiet")
    shell.run(root, "dvc", "init", "--quiet")
    shell.run(root, "dvc", "remote", "add", "--default", "team", remote)
    if endpoint is not None:
        shell.run(root, "dvc", "remote", "modify", "--local", "team", "endpointurl", endpoint)
    save_data(root, shell, AWS_ENDPOINT_URL=None)
    return root


def save_data(root: Path, shell: Shell, **changes: str | None) -> None:
    """Version the data, push them, and commit the pointer."""
    shell.run(root, "dvc", "add", "--quiet", "data")
    shell.run(root, "dvc", "push", "data.dvc", code=0, **changes)
    commit(root, shell, "Change the data")


def commit(root: Path, shell: Shell, subject: str) -> None:
    """Commit everything that git does not ignore."""
    shell.run(root, "git", "add", "--all")
    who = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    shell.run(root, "git", *who, "commit", "--quiet", "--message", subject)


def write_data(root: Path, *, seed: int) -> None:
    """Write a corpus for a seed, and a task that counts a letter and is the same for every seed."""
    folder = root / "data" / "text"
    folder.mkdir(parents=True, exist_ok=True)
    _frame(seed, ROWS).assign(source="made").to_parquet(folder / "corpus.parquet")
    task = _frame(TASK_SEED, TASK_ROWS)
    task["label"] = [float(text.count("a")) for text in task["text"]]
    task["split"] = ["test", "train", "train"] * (TASK_ROWS // 3)
    task.to_parquet(folder / "letters.parquet")


def _frame(seed: int, rows: int) -> pd.DataFrame:
    generator, kind = np.random.default_rng(seed), TextModality()
    letters = list("abcdefghijklmnop ")
    texts = ["x" + "".join(generator.choice(letters, 24)) for _ in range(rows)]
    ids = [kind.content_id(text) for text in texts]
    return pd.DataFrame({"id": ids, "text": texts, "group": ids})


def _write_params(root: Path) -> None:
    tree = text_params()
    tree["threads"] = 1
    text = tree["text"]
    text["corpus"] = {"path": "data/text/corpus.parquet", "rows": ROWS, "held_out": 0.2}
    text["tasks"] = {
        "letters": {"kind": "regression", "path": "data/text/letters.parquet", "domain": "in"}
    }
    text["teachers"] = {
        name: {"family": "hashing", "licence": "Apache-2.0", "dim": dim}
        for name, dim in TEACHERS.items()
    }
    text["student"] = {"name": "bag-of-bytes", "dim": 8}
    text["heads"] = {"name": "low-rank", "hidden": 16}
    text["training"] |= {"epochs": 2, "batch_size": 32, "head_warmup_steps": 0}
    text["gate"] |= LENIENT
    (root / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False), "utf-8")
    write_resolved(root, load_params(root))
