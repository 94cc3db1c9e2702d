"""Make a project of a user's files: data, settings, stage graph, flows, a git and a DVC repository."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path

import pandas as pd

from polydistill.config.params import load_params, write_resolved
from polydistill.contracts import Modality
from polydistill.data.files import read_table
from polydistill.data.inputs import guess_modality
from polydistill.data.intake import Intake, Named, take_in
from polydistill.data.modalities import MODALITIES
from polydistill.errors import ParamsError
from polydistill.integrations import git
from polydistill.integrations.dvc import stages as dvc
from polydistill.project.template import (
    DVC_IGNORED,
    IGNORED,
    Contents,
    flow_files,
    settings,
    stage_graph,
)


@dataclass(frozen=True)
class Sources:
    """A user's files, and what of them the user has named.

    Attributes:
        corpus: A table, a text file, a folder or a glob.
        task: The same, of labelled examples; none: see `data.intake.take_in`.
        modality: Of the examples; none: guessed.
        named: Columns and kind.
    """

    corpus: Path
    task: Path | None = None
    modality: str | None = None
    named: Named = field(default_factory=Named)


@dataclass(frozen=True)
class NewProject:
    """What was made.

    Attributes:
        folder: The project folder.
        modality: Of its examples.
        n_corpus: Examples of the corpus.
        task: The task's name; none: there is none.
        n_task: Its rows.
        n_test: Those that its score is measured on.
        notes: What was guessed and left out, in sentences for a person.
    """

    folder: Path
    modality: str
    n_corpus: int
    task: str | None
    n_task: int
    n_test: int
    notes: tuple[str, ...]


def create_project(folder: Path, sources: Sources) -> NewProject:
    """Make the project in a new or empty folder.

    Raises:
        ParamsError: The folder is not empty, or the modality unknown.
        DataError: A file is missing or damaged, or holds no examples.
        StageError: Git or DVC failed, or git knows no name to commit in.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ParamsError(f"{folder} must be a new or an empty folder: name another.")
    git.require_identity()
    corpus = read_table(sources.corpus)
    name = sources.modality or guess_modality(corpus)
    modality: Modality = MODALITIES.get(name)()
    task = None if sources.task is None else read_table(sources.task)
    intake = take_in(corpus, task, modality, sources.named)
    folder.mkdir(parents=True, exist_ok=True)
    contents = _write_data(folder, intake, modality)
    _write_files(folder, contents)
    git.init(folder)
    dvc.init(folder)
    dvc.add(folder, folder / "data")
    git.commit_all(folder, "Start the project")
    return NewProject(
        folder=folder,
        modality=name,
        n_corpus=len(intake.corpus),
        task=intake.task.name if intake.task else None,
        n_task=len(intake.task.frame) if intake.task else 0,
        n_test=intake.task.n_test if intake.task else 0,
        notes=intake.notes,
    )


def _write_data(folder: Path, intake: Intake, modality: Modality) -> Contents:
    place = Path("data") / modality.name
    corpus = _write_table(folder, place / "corpus", intake.corpus)
    task = intake.task
    if task is None:
        return Contents(modality.name, corpus, len(intake.corpus))
    path = _write_table(folder, place / "tasks" / task.name, task.frame)
    return Contents(
        modality.name, corpus, len(intake.corpus), task.name, path, task.kind, task.n_test
    )


def _write_table(folder: Path, place: Path, frame: pd.DataFrame) -> str:
    """Write texts as CSV and images as Parquet; return the path in the project."""
    is_binary = any(isinstance(value, bytes) for value in frame.head(1).to_numpy().ravel())
    path = place.with_suffix(".parquet" if is_binary else ".csv")
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    if is_binary:
        frame.to_parquet(folder / path, index=False)
    else:
        frame.to_csv(folder / path, index=False)
    return path.as_posix()


def _write_files(folder: Path, contents: Contents) -> None:
    files = {
        "params.yaml": settings(contents).encode(),
        "dvc.yaml": stage_graph().encode(),
        ".gitignore": IGNORED.encode(),
        ".dvcignore": DVC_IGNORED.encode(),
        "requirements.lock": _installed().encode(),
        **flow_files(),
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    write_resolved(folder, load_params(folder))


def _installed() -> str:
    """Return what is installed here, in the format of a requirements file."""
    found = {
        (one.metadata["Name"] or "").lower().replace("_", "-"): one.version
        for one in distributions()
    }
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()) if name)
