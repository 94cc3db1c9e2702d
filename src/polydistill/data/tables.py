"""Tables of examples: the corpus, the benchmark tasks and the distinct inputs of all tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from polydistill.config.data import CorpusParams, TaskParams
from polydistill.contracts import Example, Modality
from polydistill.data.completion import (
    Dropped,
    groups_of,
    names_by_content,
    split_of,
    usable_rows,
)
from polydistill.data.files import read_lines, read_table
from polydistill.errors import DataError

CLASS_KINDS = frozenset({"binary-classification", "classification"})
NUMBER_KINDS = frozenset({"regression", "sts"})
SPLIT_KINDS = CLASS_KINDS | {"regression"}
"""Kinds of tasks whose probe is fitted on `train` and scored on `test`."""


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


def read_corpus(
    root: Path, params: CorpusParams, modality: Modality, *, with_groups: bool = True
) -> pd.DataFrame:
    """Return the first `params.rows` rows of the corpus: `id`, the example and `group`.

    A corpus without ids by content is one's own: see `corpus_table`.

    Args:
        root: The project folder.
        params: Which file, and how much of it.
        modality: What the examples are.
        with_groups: Whether a missing `group` is found; near-duplicates of 100,000 texts take half a minute.

    Raises:
        DataError: A column is missing, or there are fewer rows than asked for.
    """
    frame, _ = corpus_table(read_table(root / params.path), params, modality)
    rows = len(frame) if params.rows is None else params.rows
    if len(frame) < rows:
        raise DataError(
            f"{params.path} must have {rows} rows that can be used, got {len(frame)}: lower corpus.rows."
        )
    frame = frame.head(rows)
    if with_groups and "group" not in frame:
        return frame.assign(group=groups_of(frame[modality.column].tolist(), modality))
    return frame


def corpus_table(
    frame: pd.DataFrame, params: CorpusParams, modality: Modality
) -> tuple[pd.DataFrame, Dropped]:
    """Return the rows of a corpus that can be used, with `id` and the example, and how many cannot.

    A corpus with ids by content stays as it is. In any other, empty and repeated examples are dropped.

    Raises:
        DataError: The column of the examples is missing, or the modality refuses an example.
    """
    frame = _with_examples(frame, params.path, params.column, [modality.column])
    if names_by_content(frame, modality.column, modality):
        return frame, Dropped()
    frame = _coerced(frame, params.path, [modality.column], modality)
    return usable_rows(frame, [modality.column], modality)


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
    """Return the rows of a task that can be used: see `complete_task`."""
    return complete_task(frame, task, modality)[0]


def complete_task(
    frame: pd.DataFrame, task: TaskParams, modality: Modality
) -> tuple[pd.DataFrame, Dropped]:
    """Return the rows of a task that can be used, at most `max_rows`, and how many cannot be used.

    A task without ids is one's own: rows that are empty, repeated or contradictory are dropped, and the others
    named by content. Without a `group`, near-duplicates are one; without a `split`, a fifth of the groups is
    test.

    Raises:
        DataError: A column is missing, or the modality refuses an example.
    """
    shown = sides(task, modality)
    frame = _with_examples(frame, task.path, task.column, shown)
    frame = _with_labels(frame, task)
    dropped = Dropped()
    if "id" not in frame:
        frame = _coerced(frame, task.path, shown, modality)
        label = None if task.kind == "retrieval" else "label"
        frame, dropped = usable_rows(frame, shown, modality, label=label)
    frame = _renamed(frame, task)
    if task.max_rows is not None:
        frame = frame.sort_values("id").head(task.max_rows)
    if task.kind == "sts":
        return frame, dropped
    if "group" not in frame:
        frame = frame.assign(group=groups_of(frame[shown[0]].tolist(), modality))
    if "split" not in frame and task.kind in SPLIT_KINDS:
        classes = frame["label"].tolist() if task.kind in CLASS_KINDS else None
        frame = frame.assign(split=split_of(frame["group"].tolist(), classes))
    return frame, dropped


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


def _with_examples(
    frame: pd.DataFrame, path: str, column: str | None, wanted: Sequence[str]
) -> pd.DataFrame:
    """Put the examples into the columns `wanted`: the one that `column` names, the one of that name, or the only one.

    Raises:
        DataError: There is none of these.
    """
    if column is not None:
        ends = [name.removeprefix(wanted[0].rstrip("12")) for name in wanted]
        named = [f"{column}{end}" for end in ends]
    elif len(wanted) == 1 and len(frame.columns) == 1:
        named = [str(frame.columns[0])]
    else:
        named = list(wanted)
    for name in named:
        if name not in frame:
            raise DataError(
                f"{path} must have a column {name!r}, got {', '.join(map(str, frame.columns))}. "
                "Name the column of the examples with `column`."
            )
    return frame.assign(**{new: frame[old] for new, old in zip(wanted, named, strict=True)})


def _with_labels(frame: pd.DataFrame, task: TaskParams) -> pd.DataFrame:
    """Put the labels into `label`; numbers of a text file are read as such where the kind wants numbers.

    Raises:
        DataError: The table has no such column.
    """
    if task.label not in frame:
        raise DataError(
            f"{task.path} must have a column {task.label!r}, got {', '.join(map(str, frame.columns))}. "
            "Name the column of the labels with `label`."
        )
    labels = frame[task.label]
    if task.kind in NUMBER_KINDS and not pd.api.types.is_numeric_dtype(labels):
        numbers = pd.to_numeric(labels, errors="coerce")
        labels = numbers if numbers.notna().sum() == labels.notna().sum() else labels
    return frame.assign(label=labels)


def _coerced(
    frame: pd.DataFrame, path: str, columns: Sequence[str], modality: Modality
) -> pd.DataFrame:
    """Return one's own table with examples that the modality has read, where they are not empty.

    Raises:
        DataError: It refuses one; the message names the row.
    """
    read = {}
    for column in columns:
        there = frame[column][frame[column].notna()]
        values = as_examples(there, modality, f"{path}, column {column!r}, example")
        read[column] = pd.Series(values, index=there.index, dtype=object).reindex(frame.index)
    return frame.assign(**read)


def _renamed(frame: pd.DataFrame, task: TaskParams) -> pd.DataFrame:
    """Put the columns that a task names in the place of `split` and `group`."""
    named = {"split": task.split, "group": task.group}
    others = {place: frame[column] for place, column in named.items() if column in frame}
    if lacking := [column for place, column in named.items() if column not in (*frame, place)]:
        raise DataError(
            f"{task.path} must have a column {lacking[0]!r}, got {', '.join(frame.columns)}."
        )
    return frame.assign(**others)
