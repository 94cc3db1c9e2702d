"""The files of a new project: settings, the stage graph, flows, and lists of ignored files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from polydistill.config.compose import known_teachers, modality_defaults
from polydistill.config.training import enough_epochs

SHIPPED = Path(__file__).parent / "template"
"""The template files in a wheel; an editable install uses the files of its repository."""
REPOSITORY = Path(__file__).parents[3]
NOT_OF_A_PROJECT = (
    "src/",
    "recipes",
    "artifacts/${item}/local",
    "artifacts/${item.modality}/local",
)
"""Dependencies that only this repository's stages have: its own code, and data that its recipes fetch."""
SLOW_TEACHERS = frozenset({"e5-small"})
LEAST_BATCH, BATCHES = 32, 16
"""The least batch size, and the number of batches per epoch that smaller batches are to give for a small corpus."""
PATIENCE = 4
"""Training stops after `epochs // PATIENCE` epochs without a lower held-out loss."""
HELD_OUT_ROWS = 100
MOST_HELD_OUT = 0.2
IGNORED = """\
__pycache__/
*.py[cod]
.venv/

# outputs of the pipeline: DVC's cache or a rerun restores them
/data
/artifacts/
/reports/**
!/reports/
!/reports/*/
!/reports/*/scores.json
!/reports/*/distill.json
/.dvcstore/
/.polydistill/
/mlruns/*
!/mlruns/exports/
/mlruns/exports/*.ledger.jsonl
/dvc_plots/
"""
DVC_IGNORED = ".polydistill\n.venv\n**/__pycache__\nmlruns\n"
HEADER = """\
# The stages of the pipeline: DVC runs those whose data or parameters have changed.
# After an upgrade of polydistill: dvc repro --force.
"""


@dataclass(frozen=True)
class Contents:
    """Facts about the data of a new project, from which its settings are made.

    Attributes:
        modality: The modality of the examples.
        corpus: The path of the corpus.
        n_corpus: The number of rows of the corpus.
        task: The name of the task; None without a task.
        task_path: The path of the task's table.
        kind: The kind of task.
        n_test: The number of rows that the score is computed on.
    """

    modality: str
    corpus: str
    n_corpus: int
    task: str | None = None
    task_path: str | None = None
    kind: str | None = None
    n_test: int = 0


def flow_folder() -> Path:
    """Return the folder of the flow files in this package."""
    return _shipped("flows")


def flow_files() -> dict[str, bytes]:
    """Return the contents of the flow files, by path in the project."""
    files = sorted(flow_folder().glob("*.py"))
    return {f"flows/{file.name}": file.read_bytes() for file in files}


def stage_graph() -> str:
    """Return `dvc.yaml` of a project: the stages without dependencies on this repository's code and recipes."""
    graph = yaml.safe_load(_shipped("dvc.yaml").read_text(encoding="utf-8"))
    del graph["stages"]["fetch-data"]
    for stage in graph["stages"].values():
        body = stage.get("do", stage)
        body["deps"] = [one for one in body["deps"] if not one.startswith(NOT_OF_A_PROJECT)]
    return HEADER + yaml.safe_dump(graph, sort_keys=False, allow_unicode=True, width=100)


def settings(contents: Contents) -> str:
    """Return `params.yaml` of a project, with comments."""
    training = scaled_training(contents.modality, contents.n_corpus)
    held_out = round(max(0.05, min(MOST_HELD_OUT, HELD_OUT_ROWS / contents.n_corpus)), 2)
    corpus = {"path": contents.corpus, "held_out": held_out}
    lines = [
        "# What this project decided; every other value is a default: `polydistill params` shows them all.",
        "seed: 0",
        "",
        f"{contents.modality}:",
        f"  corpus: {_flow(corpus)}    # {contents.n_corpus:,} examples",
        *_tasks(contents),
        "  teachers:             # known teachers by name; `enabled: false` disables one",
        *_teachers(contents.modality),
        *_training(training, contents.n_corpus),
        *_gate(contents),
    ]
    return "\n".join(lines) + "\n"


def scaled_training(modality: str, n_rows: int) -> dict[str, int]:
    """Return the training settings that give a small corpus enough steps; empty if the defaults do.

    Examples:
        >>> scaled_training("text", 250)
        {'batch_size': 32, 'epochs': 40, 'head_warmup_steps': 7, 'patience': 10}
        >>> scaled_training("text", 100_000)
        {}
    """
    default = modality_defaults(modality)["training"]
    batch_size = int(default["batch_size"])
    while batch_size > LEAST_BATCH and n_rows < BATCHES * batch_size:
        batch_size //= 2
    steps = max(1, n_rows // batch_size)
    epochs = enough_epochs(n_rows, batch_size, int(default["epochs"]))
    if epochs == default["epochs"]:
        return {}
    found = {"batch_size": batch_size, "epochs": epochs}
    if "head_warmup_steps" in default:
        found["head_warmup_steps"] = min(int(default["head_warmup_steps"]), steps)
    return {**found, "patience": epochs // PATIENCE}


def _shipped(name: str) -> Path:
    inside = SHIPPED / name
    return inside if inside.exists() else REPOSITORY / name


def _tasks(contents: Contents) -> list[str]:
    if contents.task is None:
        return [
            "  tasks: {}             # none yet: a student is promoted by its scores on tasks",
            "    # intents: {kind: classification, path: data/text/tasks/intents.csv, domain: in}",
        ]
    row = {"kind": contents.kind, "path": contents.task_path, "domain": "in"}
    return [
        "  tasks:",
        f"    {_flow({contents.task: row})[1:-1]}    # {contents.n_test:,} test rows",
    ]


def _teachers(modality: str) -> list[str]:
    return [
        f"    {name}: {{enabled: false}}    # slow" if name in SLOW_TEACHERS else f"    {name}:"
        for name in known_teachers(modality)
    ]


def _training(training: Mapping[str, int], n_rows: int) -> list[str]:
    if not training:
        return []
    return [f"  training: {_flow(training)}    # enough steps for {n_rows:,} examples"]


def _gate(contents: Contents) -> Sequence[str]:
    """Return lines of `gate` that tolerate a loss of two standard errors of a score on `n_test` rows."""
    if not contents.n_test:
        return []
    noise = round(1 / contents.n_test**0.5, 3)
    least = {"min_gain": -noise, "min_gain_over_undistilled": -noise}
    return [
        f"  gate: {_flow(least)}",
        f"    # two standard errors of a score on {contents.n_test:,} test rows: smaller differences are noise",
    ]


def _flow(row: Mapping[str, Any]) -> str:
    """Return a mapping as one line of YAML."""
    text: str = yaml.safe_dump(dict(row), default_flow_style=True, sort_keys=False, width=1_000)
    return text.strip()
