"""The files of a new project: settings, the stage graph, flows, and lists of ignored files."""

from collections.abc import Mapping
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from polydistill.config.params import known_teachers, modality_defaults
from polydistill.config.training import enough_epochs

SHIPPED = Path(__file__).parent / "template"
"""The template files; a wheel also has `flows/` and `dvc.yaml` here, an editable install uses its repository's."""
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
HEADER = """\
# The stages of the pipeline: DVC runs those whose data or parameters have changed.
# After an upgrade of polydistill: dvc repro --force.
"""


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
    """Return `dvc.yaml` of a project: the stages without dependencies on this repository's code and recipes."""
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
        task: The settings of the task by its name; empty without a task.
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
        teachers=known_teachers(modality),
        slow_teachers=SLOW_TEACHERS,
        training=scaled_training(modality, n_corpus),
        noise=round(1 / max(n_test, 1) ** 0.5, 3),
    )


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


def _one_line(row: Mapping[str, object]) -> str:
    """Return a mapping as one line of YAML."""
    text: str = yaml.safe_dump(dict(row), default_flow_style=True, sort_keys=False, width=1_000)
    return text.strip()
