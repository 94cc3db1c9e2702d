"""Reading tables of examples: the corpus, the benchmark tasks and the distinct inputs of all tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from polydistill.config.data import CorpusParams, TaskParams
from polydistill.contracts import Example, Modality
from polydistill.errors import DataError, MissingDataError


def read_table(path: Path) -> pd.DataFrame:
    """Read a Parquet or CSV file.

    Raises:
        MissingDataError: There is no such file.
        DataError: The file is damaged, or of another kind.
    """
    if not path.exists():
        raise MissingDataError(
            f"No file {path}. `dvc pull data.dvc` brings the project's data; `python -m recipes build "
            "<modality>` makes those of a recipe."
        )
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.suffix == ".csv":
            return pd.read_csv(path)
    except (ValueError, OSError) as error:  # pyarrow's and pandas' errors are both
        raise DataError(
            f"{path} cannot be read: {str(error).rstrip('.')}. "
            "Remove it and `dvc pull data.dvc`, or build it again."
        ) from error
    raise DataError(f"{path} must end in .parquet or .csv.")


def read_lines(path: Path) -> list[str]:
    """Read a text file with one example a line: itself, or its path where a line cannot hold it.

    Raises:
        MissingDataError: There is no such file.
        DataError: It is not UTF-8, or holds no line.
    """
    if not path.is_file():
        raise MissingDataError(f"No file {path}: give a text file, one example a line.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} must be UTF-8 text, one example a line: {error}.") from error
    if not lines:
        raise DataError(f"{path} must hold one example a line, got an empty file.")
    return lines


def read_examples(path: Path, modality: Modality) -> list[Example]:
    """Return the examples that the lines of a text file stand for.

    Raises:
        MissingDataError: There is no such file.
        DataError: It is not UTF-8, holds no line, or the modality refuses one, which is named.
    """
    return as_examples(read_lines(path), modality, f"{path}, line")


def as_examples(
    values: Iterable[object], modality: Modality, each: str = "Example"
) -> list[Example]:
    """Return what the modality makes of values from outside.

    Raises:
        DataError: It refuses one, which is named: `each` and its number.
    """
    examples = []
    for number, value in enumerate(values, start=1):
        try:
            examples.append(modality.coerce(value))
        except DataError as error:
            raise type(error)(f"{each} {number}: {error}") from error
    return examples


def read_corpus(root: Path, params: CorpusParams, modality: Modality) -> pd.DataFrame:
    """Return the first `params.rows` rows of the corpus: `id`, the example, `source`, `group`.

    Raises:
        DataError: A column is missing, or there are fewer rows than asked for.
    """
    frame = read_table(root / params.path)
    _require_columns(params.path, frame, ["id", modality.column, "group"])
    if len(frame) < params.rows:
        raise DataError(
            f"{params.path} must have {params.rows} rows, got {len(frame)}: lower corpus.rows."
        )
    return frame.head(params.rows)


def read_tasks(
    root: Path, params: Mapping[str, TaskParams], modality: Modality
) -> dict[str, pd.DataFrame]:
    """Return the tasks whose files are there, by name.

    A third-party task (`redistributable: false`) may be missing: `fetch-data` has said why.

    Raises:
        DataError: The file of any other task is missing, or a column is.
    """
    available = available_tasks(root, params)
    return {
        name: task_table(read_table(root / task.path), task, modality)
        for name, task in available.items()
    }


def available_tasks(root: Path, params: Mapping[str, TaskParams]) -> dict[str, TaskParams]:
    """Return the tasks without the third-party ones whose files are missing."""
    return {
        name: task
        for name, task in params.items()
        if task.redistributable or (root / task.path).exists()
    }


def task_table(frame: pd.DataFrame, task: TaskParams, modality: Modality) -> pd.DataFrame:
    """Return a task's rows with the columns that its settings name, at most `max_rows` of them.

    Raises:
        DataError: A column is missing.
    """
    frame = _renamed(frame, task)
    shown = sides(task, modality)
    extra = [] if task.kind == "sts" else ["group"]
    _require_columns(task.path, frame, ["id", *shown, "label", *extra])
    return frame if task.max_rows is None else frame.sort_values("id").head(task.max_rows)


def benchmark_inputs(
    tasks: Mapping[str, pd.DataFrame], params: Mapping[str, TaskParams], modality: Modality
) -> pd.DataFrame:
    """Return the distinct inputs of all tasks, `id` and the example, in the order of first use."""
    columns = [
        frame[side] for name, frame in tasks.items() for side in sides(params[name], modality)
    ]
    if not columns:
        return pd.DataFrame({"id": pd.Series(dtype=str), modality.column: pd.Series(dtype=str)})
    examples = pd.concat(columns, ignore_index=True)
    ids = examples.map(modality.content_id)
    return (
        pd.DataFrame({"id": ids, modality.column: examples})
        .drop_duplicates("id")
        .reset_index(drop=True)
    )


def sides(task: TaskParams, modality: Modality) -> list[str]:
    """Return the columns that hold a task's examples."""
    return (
        [f"{modality.column}{side}" for side in (1, 2)] if task.kind == "sts" else [modality.column]
    )


def _renamed(frame: pd.DataFrame, task: TaskParams) -> pd.DataFrame:
    """Put the columns that a task names in the place of `split` and `group`."""
    named = {"split": task.split, "group": task.group}
    others = {place: frame[column] for place, column in named.items() if column in frame}
    if lacking := [column for place, column in named.items() if column not in (*frame, place)]:
        raise DataError(
            f"{task.path} must have a column {lacking[0]!r}, got {', '.join(frame.columns)}."
        )
    return frame.assign(**others)


def _require_columns(path: str, frame: pd.DataFrame, columns: list[str]) -> None:
    if missing := [column for column in columns if column not in frame]:
        raise DataError(
            f"{path} must have a column {missing[0]!r}, got {', '.join(frame.columns)}."
        )
