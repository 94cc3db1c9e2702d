"""Start the whole main job: the flow module, in the project folder or in a workspace beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from polydistill.errors import StageError
from polydistill.params import load_params
from polydistill.stages.resolve import resolve
from polydistill.workspace import WORKSPACES, make_workspace

QUICK = {
    "text.corpus.rows": 2000,
    "text.training.epochs": 20,
    "text.warm_start": {},  # from scratch: what the project goes on from is not in the workspace
    # Sixty steps have hardly learned anything yet: some tasks gain and some lose.
    "text.gate.min_gain_over_undistilled": -0.01,
    "text.gate.max_harm_per_task": 0.05,
    **{f"text.tasks.vader-{part}.max_rows": 300 for part in ("tweets", "movie", "amazon", "nyt")},
    "text.tasks.brown-genre.max_rows": 600,
    "embed": {
        "text-minilm-l6": {
            "modality": "text",
            "teacher": "minilm-l6",
            "module": "sentence_transformers",
        },
        "text-glove-50d": {"modality": "text", "teacher": "glove-50d", "module": "static_vectors"},
    },
}
"""Two teachers, 2,000 rows and smaller out-of-domain tasks: the same path, in minutes."""


def run_flow(root: Path, modality: str, *, quick: bool = False, aside: bool = False) -> int:
    """Run `flows.retrain` in its own process, and return its exit code.

    A quick run has a workspace, and so a registry and reports, of its own: it leaves the project alone.

    Args:
        root: The project folder.
        modality: A block of `params.yaml`.
        quick: See `QUICK`.
        aside: Say everything on standard error, so that standard output is free for a result.
    """
    folder = make_workspace(root, "quick", QUICK) if quick else root
    if not (folder / "flows" / "retrain.py").exists():
        raise StageError(f"No flows/retrain.py in {folder.resolve()}: run in a project folder.")
    resolve(load_params(folder), modality)
    command = [sys.executable, "-m", "flows.retrain", modality]
    stream = sys.stderr if aside else None
    return subprocess.run(command, cwd=folder, check=False, stdout=stream).returncode


def folder_of(root: Path, *, quick: bool) -> Path:
    """Return the project folder that a run works in."""
    return root / WORKSPACES / "quick" if quick else root
