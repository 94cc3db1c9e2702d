"""Makes a project from a user's files: data, settings, stage graph, flows, a git and a DVC repository."""

from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import pandas as pd

from polydistill.config.params import load_params, write_resolved
from polydistill.contracts import Modality
from polydistill.data.files import read_table
from polydistill.data.inputs import guess_modality
from polydistill.data.intake import Named, take_in
from polydistill.data.modalities import MODALITIES
from polydistill.errors import ParamsError
from polydistill.integrations import git
from polydistill.integrations.dvc import stages as dvc
from polydistill.project.template import flow_files, settings, stage_graph, tool_files


@dataclass(frozen=True)
class NewProject:
    """A project that was made.

    Attributes:
        folder: The project folder.
        modality: The modality of its examples.
        n_corpus: The number of examples in the corpus.
        task: The task's name; None without a task.
        n_task: The number of rows of the task.
        n_test: The number of rows that the task's score is computed on.
        notes: Sentences about guesses and dropped rows.
    """

    folder: Path
    modality: str
    n_corpus: int
    task: str | None
    n_task: int
    n_test: int
    notes: tuple[str, ...]


def create_project(
    folder: Path, corpus: Path, task: Path | None, modality: str | None, named: Named
) -> NewProject:
    """Make the project in a new or empty folder.

    Args:
        folder: The project folder.
        corpus: A table, a text file, a folder or a glob.
        task: The same, with labelled examples; None: see `data.intake.take_in`.
        modality: The modality of the examples; None: it is guessed.
        named: The columns and the kind of task that the user has named.

    Raises:
        ParamsError: The folder is not empty, or the modality is unknown.
        DataError: A file is missing or damaged, or has no examples.
        StageError: Git or DVC failed, or git has no name for the author of commits.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ParamsError(f"{folder} must be a new or an empty folder: name another.")
    git.require_identity()
    table = read_table(corpus)
    name = modality or guess_modality(table)
    kind: Modality = MODALITIES.get(name)()
    intake = take_in(table, None if task is None else read_table(task), kind, named)
    labelled = intake.task
    made = NewProject(
        folder=folder,
        modality=name,
        n_corpus=len(intake.corpus),
        task=labelled.name if labelled else None,
        n_task=len(labelled.frame) if labelled else 0,
        n_test=labelled.n_test if labelled else 0,
        notes=intake.notes,
    )
    folder.mkdir(parents=True, exist_ok=True)
    data = Path("data") / name
    corpus_path, tasks = _write_table(folder, data / "corpus", intake.corpus), {}
    if labelled:
        path = _write_table(folder, data / "tasks" / labelled.name, labelled.frame)
        tasks[labelled.name] = {"kind": labelled.kind, "path": path, "domain": "in"}
    files = {
        "params.yaml": settings(name, corpus_path, made.n_corpus, tasks, made.n_test).encode(),
        "dvc.yaml": stage_graph().encode(),
        "requirements.lock": _installed().encode(),
        **tool_files(),
        **flow_files(),
    }
    for file, content in files.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(content)
    write_resolved(folder, load_params(folder))
    git.init(folder)
    dvc.add(folder, folder / "data")
    git.commit_all(folder, "Start the project")
    return made


def _write_table(folder: Path, name: Path, frame: pd.DataFrame) -> str:
    """Write texts as CSV and images as Parquet; return the path in the project."""
    is_binary = any(isinstance(value, bytes) for value in frame.head(1).to_numpy().ravel())
    path = name.with_suffix(".parquet" if is_binary else ".csv")
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (frame.to_parquet if is_binary else frame.to_csv)(folder / path, index=False)
    return path.as_posix()


def _installed() -> str:
    """Return the packages that are installed here, in the format of a requirements file."""
    found = {
        (one.metadata["Name"] or "").lower().replace("_", "-"): one.version
        for one in distributions()
    }
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()) if name)
