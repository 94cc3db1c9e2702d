"""Scratch projects: folders that share a project's data and teacher embeddings, for distillation and evaluation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from polydistill.config.params import Params
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import groups_by_id, read_tasks
from polydistill.errors import MissingDataError
from polydistill.project.layout import Layout

OWN_FOLDERS = {"artifacts", "reports", ".polydistill", ".git", ".dvc", ".venv"}
PARTS = ("corpus", "benchmark")


def require_embeddings(root: Path, params: Params, modality: str) -> None:
    """Check that the embeddings of every enabled teacher and rival exist, or that a rival is noted as unavailable.

    Raises:
        MissingDataError: The embeddings of a teacher or rival are missing.
    """
    for folder in _embeddings(Layout(root, modality), params):
        if not folder.exists():
            raise MissingDataError(
                f"No embeddings in {folder}: run `dvc repro evaluate@{modality}`."
            )


def borrow_project(root: Path, scratch: Path, params: Params, modality: str) -> None:
    """Make `scratch` a project folder with links to the data of `root` and the embeddings of teachers and rivals.

    Embeddings of disabled teachers are not linked, because a stage would move them.
    """
    source, target = Layout(root, modality), Layout(scratch, modality)
    embeddings = target.artifacts / "embeddings"
    if embeddings.is_symlink():  # an earlier version linked the whole folder
        embeddings.unlink()
    links = {scratch / path.name: path for path in root.iterdir() if path.name not in OWN_FOLDERS}
    links |= {target.local: source.local, target.corpus: source.corpus}
    links |= dict(zip(_embeddings(target, params), _embeddings(source, params), strict=True))
    for link, path in links.items():
        if path.exists() and not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())


def _embeddings(layout: Layout, params: Params) -> list[Path]:
    """Return the folders of the embeddings of enabled teachers, of both parts, and of rivals, of the benchmark."""
    block = params.modality(layout.modality)
    teachers = [layout.embeddings(part, name) for part in PARTS for name in block.enabled_teachers]
    return teachers + [layout.embeddings(PARTS[1], name) for name in block.enabled_rivals]


def task_groups(root: Path, params: Params, modality: str) -> dict[str, pd.Series]:
    """Return the group of each example by its id, for every task that has groups."""
    frames = read_tasks(root, params.modality(modality).tasks, MODALITIES.get(modality)())
    return groups_by_id(frames)
