"""Creates a project from a user's files, with data, settings, stage graph, flows, and git and DVC repositories."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from polydistill import project
from polydistill.config.params import known_teachers, load_params, modality_defaults, write_resolved
from polydistill.config.training import enough_epochs
from polydistill.contracts import Modality
from polydistill.data.files import read_table
from polydistill.data.inputs import guess_modality
from polydistill.data.intake import Named, take_in
from polydistill.data.modalities import MODALITIES
from polydistill.errors import ParamsError
from polydistill.integrations import git
from polydistill.integrations.dvc import stages as dvc

SHIPPED = Path(project.__file__).parent / "template"
"""The template files. A wheel also has `flows/` and `dvc.yaml` here; an editable install uses the repository's."""
REPOSITORY = Path(__file__).parents[3]
NOT_OF_A_PROJECT = (
    "src/",
    "recipes",
    "artifacts/${item}/local",
    "artifacts/${item.modality}/local",
)
"""Dependencies of stages in this repository only: its own code, and the data that its recipes fetch."""
SLOW_TEACHERS = frozenset({"e5-small"})
RIVALS = frozenset({"wordllama"})
"""Known models that a student may be compared with, but should not learn from."""
LEAST_BATCH, BATCHES = 32, 16
"""The minimum batch size, and the target number of batches per epoch for a small corpus."""
PATIENCE = 4
"""Training stops after `epochs // PATIENCE` epochs without a lower held-out objective."""
HELD_OUT_ROWS = 100
MOST_HELD_OUT = 0.2
HEADER = """\
# The stages of the pipeline: DVC runs those whose data or parameters have changed.
# After an upgrade of polydistill: dvc repro --force.
"""


@dataclass(frozen=True)
class NewProject:
    """A newly created project.

    Attributes:
        folder: The project folder.
        modality: The modality of its examples.
        n_corpus: The number of examples in the corpus.
        task: The task's name; None without a task.
        n_task: The number of rows of the task.
        n_test: The number of rows that the task's score is computed on.
        notes: Messages about guessed settings and dropped rows.
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
        task: Labelled examples, in the same forms as `corpus`. If None, see `data.intake.take_in`.
        modality: The modality of the examples. If None, it is guessed.
        named: The columns and the kind of task that the user specified.

    Raises:
        ParamsError: The folder is not empty, or the modality is unknown.
        DataError: A file is missing or damaged, or has no examples.
        StageError: Git or DVC failed, or no author name is configured in git.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ParamsError(f"{folder} must be a new or an empty folder: name another.")
    git.require_identity()
    table = read_table(corpus, named.encoding)
    name = modality or guess_modality(table)
    kind: Modality = MODALITIES.get(name)()
    labelled_table = None if task is None else read_table(task, named.encoding)
    intake = take_in(table, labelled_table, kind, named)
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
    """Write texts as CSV and images as Parquet, and return the path relative to the project."""
    is_binary = any(isinstance(value, bytes) for value in frame.head(1).to_numpy().ravel())
    path = name.with_suffix(".parquet" if is_binary else ".csv")
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (frame.to_parquet if is_binary else frame.to_csv)(folder / path, index=False)
    return path.as_posix()


def _installed() -> str:
    """Return the installed packages, in the format of a requirements file."""
    found = {
        (one.metadata["Name"] or "").lower().replace("_", "-"): one.version
        for one in distributions()
    }
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()) if name)


def flow_folder() -> Path:
    """Return the folder of the flow files in this package."""
    return _shipped("flows")


def flow_files() -> dict[str, bytes]:
    """Return the contents of the flow files, by path in the project."""
    files = sorted(flow_folder().glob("*.py"))
    return {f"flows/{file.name}": file.read_bytes() for file in files}


def tool_files() -> dict[str, bytes]:
    """Return the contents of the settings of git and DVC, by path in the project."""
    names = ("gitignore", "dvcignore", "dvc/config", "dvc/.gitignore")
    return {f".{name}": (SHIPPED / name).read_bytes() for name in names}


def stage_graph() -> str:
    """Return a project's `dvc.yaml`: the stages, without dependencies on this repository's code and recipes."""
    graph = yaml.safe_load(_shipped("dvc.yaml").read_text(encoding="utf-8"))
    del graph["stages"]["fetch-data"]
    for stage in graph["stages"].values():
        body = stage.get("do", stage)
        body["deps"] = [one for one in body["deps"] if not one.startswith(NOT_OF_A_PROJECT)]
    return HEADER + yaml.safe_dump(graph, sort_keys=False, allow_unicode=True, width=100)


def settings(
    modality: str, corpus: str, n_corpus: int, task: Mapping[str, Mapping[str, object]], n_test: int
) -> str:
    """Return `params.yaml` of a project, with comments.

    Args:
        modality: The modality of the examples.
        corpus: The path of the corpus.
        n_corpus: The number of rows of the corpus.
        task: The settings of the task, keyed by its name; empty without a task.
        n_test: The number of rows that the task's score is computed on. The gate tolerates a loss of two standard
            errors of such a score.
    """
    environment = Environment(
        loader=FileSystemLoader(SHIPPED),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML, not HTML
    )
    environment.filters["yaml"] = _one_line
    return environment.get_template("params.yaml.jinja").render(
        modality=modality,
        corpus=corpus,
        n_corpus=n_corpus,
        held_out=round(max(0.05, min(MOST_HELD_OUT, HELD_OUT_ROWS / n_corpus)), 2),
        task=task,
        n_test=n_test,
        teachers=[name for name in known_teachers(modality) if name not in RIVALS],
        rivals=[name for name in known_teachers(modality) if name in RIVALS],
        slow_teachers=SLOW_TEACHERS,
        training=scaled_training(modality, n_corpus),
        noise=round(1 / max(n_test, 1) ** 0.5, 3),
    )


def scaled_training(modality: str, n_rows: int) -> dict[str, int]:
    """Return training settings with enough steps for a small corpus; empty if the defaults suffice.

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


def _one_line(row: Mapping[str, object]) -> str:
    """Return a mapping as one line of YAML."""
    text: str = yaml.safe_dump(dict(row), default_flow_style=True, sort_keys=False, width=1_000)
    return text.strip()
