"""Scratch projects: distil and evaluate beside a project, with its data and its teachers' embeddings."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from polydistill.config.params import Params
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import read_tasks
from polydistill.errors import MissingDataError
from polydistill.project.layout import Layout

OWN_FOLDERS = {"artifacts", "reports", ".polydistill", ".git", ".dvc", ".venv"}
PARTS = ("corpus", "benchmark")


def require_embeddings(root: Path, params: Params, modality: str) -> None:
    """Make sure that every active teacher has embedded corpus and benchmark inputs.

    Raises:
        MissingDataError: A teacher has not.
    """
    for teacher in params.enabled_teachers(modality):
        for part in PARTS:
            folder = Layout(root, modality).embeddings(part, teacher)
            if not folder.exists():
                raise MissingDataError(
                    f"No embeddings in {folder}: `dvc repro evaluate@{modality}`."
                )


def borrow_project(root: Path, place: Path, params: Params, modality: str) -> None:
    """Make `place` a project folder with links to the data of `root` and to the active teachers' embeddings.

    Only to theirs: a stage moves embeddings of other teachers out of its way.
    """
    there, here = Layout(root, modality), Layout(place, modality)
    embeddings = here.artifacts / "embeddings"
    if embeddings.is_symlink():  # as an earlier version left it
        embeddings.unlink()
    borrowed = {place / path.name: path for path in root.iterdir() if path.name not in OWN_FOLDERS}
    borrowed[here.local] = there.local
    for part in PARTS:
        for teacher in params.enabled_teachers(modality):
            borrowed[here.embeddings(part, teacher)] = there.embeddings(part, teacher)
    for link, target in borrowed.items():
        if target.exists() and not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target.resolve())


def task_groups(root: Path, params: Params, modality: str) -> dict[str, pd.Series]:
    """Return, for each task that knows any, the group of each example by its id."""
    frames = read_tasks(root, params.modality(modality).tasks, MODALITIES.get(modality)())
    return {
        name: frame.set_index("id")["group"] for name, frame in frames.items() if "group" in frame
    }
