"""Tables of the corpus, of the benchmark tasks, and of the distinct inputs of all tasks."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polydistill.config.data import CorpusParams, TaskParams
from polydistill.contracts import Example, Modality
from polydistill.data.files import (
    count_rows,
    located,
    read_chunks,
    read_lines,
    read_table,
    require_column,
)
from polydistill.data.groups import groups_of, split_of
from polydistill.data.perturbations import perturb
from polydistill.errors import DataError, short

CLASS_KINDS = frozenset({"binary-classification", "classification"})
NUMBER_KINDS = frozenset({"regression", "sts"})
SPLIT_KINDS = CLASS_KINDS | {"regression"}
"""Kinds of tasks whose probe is fitted on the `train` rows and scored on the `test` rows."""
PAIR_KINDS = frozenset({"pair-classification", "sts"})
"""Kinds of tasks whose rows have two examples, and which are scored on all rows."""
RANKING_KINDS = frozenset({"reranking", "retrieval"})
"""Kinds of tasks whose rows are queries or the corpus, by the column `role`; only labels of queries are required."""
POOLED = "reranking"
"""The kind of task whose queries rank the corpus rows with the same value in the column `pool`."""
TRUTH = {"0": "0", "0.0": "0", "false": "0", "1": "1", "1.0": "1", "true": "1"}
"""The labels that `pair-classification` accepts, in lower case, and what they mean."""


ROWS_TO_CHECK = 100
"""The number of rows that are checked to decide whether the ids of a corpus are content ids."""


Dropped = dict[str, int]
"""The number of unusable rows of a user's table, by reason.

The reasons are `empty` (the example or the label is missing), `repeated` (an earlier row has the same example and
label) and `contradictory` (the example has different labels in different rows).
"""


def read_examples(path: Path, modality: Modality) -> list[Example]:
    """Return the examples in a text file. Each line holds an example or the path of an example.

    Raises:
        MissingDataError: There is no such file.
        DataError: The file is empty or not UTF-8, or the modality refuses a line, which the message names.
    """
    return as_examples(read_lines(path), modality, f"{path}, line")


def as_examples(
    values: Iterable[object], modality: Modality, each: str = "Example", *, start: int = 1
) -> list[Example]:
    """Convert a user's values to examples of the modality.

    Raises:
        DataError: The modality refuses a value; the message names it by `each` and its number.
    """
    return _read_each(enumerate(values, start), modality.coerce, each)


def _read_each(
    numbered: Iterable[tuple[int, object]], read: Callable[[Any], Example], each: str
) -> list[Example]:
    examples = []
    for number, value in numbered:
        try:
            examples.append(read(value))
        except DataError as error:
            file = f" ({value})" if isinstance(value, Path) else ""
            raise type(error)(f"{each} {number}{file}: {error}") from error
    return examples


def read_corpus(root: Path, params: CorpusParams, modality: Modality) -> pd.DataFrame:
    """Return the first `params.rows` rows of the corpus, in memory, with columns `id` and the example.

    `corpus_table` completes a corpus without content ids. `preparation.prepare_corpus` reads larger corpora.

    Raises:
        DataError: A column is missing, or there are fewer than `params.rows` usable rows.
    """
    table = read_table(located(root, params.path), params.encoding)
    frame, _ = corpus_table(table, params, modality)
    require_rows(len(frame), params)
    return frame.head(params.rows or len(frame))


def corpus_share(
    root: Path, params: CorpusParams, modality: Modality, most_rows: int
) -> pd.DataFrame:
    """Return the rows of `read_corpus`; of more than `most_rows`, a share of the first `params.rows` rows of the files.

    The share is drawn by content ids, so that all rows with equal examples are in it, or none. Parquet files are read
    in parts, other files one at a time.

    Raises:
        DataError: A column is missing, or there is no usable row.
    """
    path = located(root, params.path)
    total = count_rows(path, params.encoding)
    total = min(total, params.rows or total)
    if (step := math.ceil(total / most_rows)) <= 1:
        return read_corpus(root, params, modality)
    reader, parts = CorpusReader(params, modality), []
    for part in read_chunks(path, params.encoding):
        rows = reader.read(part[part.index < total])
        drawn = [int(_hash_of(one), 16) % step == 0 for one in rows["id"]]
        parts.append(rows[drawn])
    frame = pd.concat(parts, ignore_index=True)
    require_rows(len(frame), params.model_copy(update={"rows": None}))
    return frame if reader.has_content_ids else frame.drop_duplicates("id", ignore_index=True)


def _hash_of(content_id: object) -> str:
    return hashlib.sha256(str(content_id).encode()).hexdigest()[:16]


def sample_corpus(
    root: Path, params: CorpusParams, modality: Modality, n_rows: int
) -> tuple[pd.DataFrame, int]:
    """Return about `n_rows` rows of the corpus, at regular intervals, and the number of rows of its files.

    Raises:
        DataError: See `read_corpus`.
    """
    path = located(root, params.path)
    total = count_rows(path, params.encoding)
    total = min(total, params.rows or total)
    step, reader = max(total // n_rows, 1), CorpusReader(params, modality)
    parts = [
        reader.read(part[(part.index % step == 0) & (part.index < total)])
        for part in read_chunks(path, params.encoding)
    ]
    columns = ["id", modality.column]
    sample = pd.concat([part[columns] for part in parts]).drop_duplicates("id")
    return sample.head(n_rows), total


def require_rows(n_usable: int, params: CorpusParams) -> None:
    """Check the number of usable rows of a corpus.

    Raises:
        DataError: There is none, or there are fewer than `params.rows`.
    """
    wanted = params.rows or 1
    if n_usable < wanted:
        hint = ": lower corpus.rows" if n_usable else ""
        raise DataError(f"{params.path} must have {wanted} usable rows, got {n_usable}{hint}.")


def corpus_table(
    frame: pd.DataFrame, params: CorpusParams, modality: Modality
) -> tuple[pd.DataFrame, Dropped]:
    """Return the usable rows of a corpus, with columns `id` and the example, and the numbers of dropped rows.

    A corpus with content ids is returned unchanged. From any other corpus, empty and repeated examples are dropped. If
    it has ids of its own, the column `own_ids` lists those of all rows with the example, as strings.

    Raises:
        DataError: The column of the examples is missing, or the modality refuses an example.
    """
    reader = CorpusReader(params, modality)
    rows = reader.read(frame.reset_index(drop=True))
    return (rows, {}) if reader.has_content_ids else _without_repeats(rows, reader.n_empty)


class CorpusReader:
    """Brings a corpus, part by part, to its canonical form.

    Args:
        params: The settings of the corpus.
        modality: The modality of the examples.
    """

    def __init__(self, params: CorpusParams, modality: Modality) -> None:
        self._params, self._modality = params, modality
        self.n_empty = 0
        """The number of rows that were dropped because they have no example."""
        self.has_content_ids: bool | None = None
        """Whether the table has content ids; None until a part has an example. No row of such a table is dropped."""

    def read(self, part: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a part with their example and their content id in the column `id`.

        In a table with content ids, `id` has the table's own ids. Of any other table, the rows without an example are
        left out, and ids of its own are in the column `own`.

        Raises:
            DataError: The column of the examples is missing, or the modality refuses an example.
        """
        column, path = self._modality.column, self._params.path
        part = _with_examples(part, path, self._params.column, [column])
        if self.has_content_ids is None and part[column].notna().any():
            self.has_content_ids = _has_content_ids(part, column, self._modality)
        if self.has_content_ids:
            return _with_canonical(part, [column], self._modality, path)
        kept = _coerced(part, [column], self._modality, path)
        self.n_empty += len(part) - len(kept)
        return kept


def read_tasks(
    root: Path, params: Mapping[str, TaskParams], modality: Modality
) -> dict[str, pd.DataFrame]:
    """Return the tables of the tasks whose files exist, by name.

    The file of a third-party task (`redistributable: false`) may be missing: `fetch-data` has reported the reason.

    Raises:
        DataError: The file of another task is missing, or a table lacks a column.
    """
    return {
        name: complete_task(read_table(root / task.path, task.encoding), task, modality)[0]
        for name, task in available_tasks(root, params).items()
    }


def available_tasks(root: Path, params: Mapping[str, TaskParams]) -> dict[str, TaskParams]:
    """Return all tasks except third-party tasks whose files are missing."""
    return {
        name: task
        for name, task in params.items()
        if task.redistributable or (root / task.path).exists()
    }


def complete_task(
    frame: pd.DataFrame, task: TaskParams, modality: Modality
) -> tuple[pd.DataFrame, Dropped]:
    """Return the usable rows of a task, at most `max_rows`, and the numbers of dropped rows.

    From a task without ids, rows that are empty, repeated or contradictory are dropped, and the remaining rows get
    content ids. If `group` is missing, near-duplicates form the groups. If `split` is missing, a fifth of the groups
    is the test set.

    Raises:
        DataError: A column is missing, the modality refuses an example, or `max_rows` leaves no query.
    """
    shown = sides(task, modality)
    frame = _with_examples(frame.reset_index(drop=True), task.path, task.column, shown)
    frame = _with_labels(frame, task)
    if task.kind == POOLED:
        require_column(frame, "pool", task.path, "A query ranks the corpus rows of its pool.")
        frame = frame.assign(pool=as_strings(frame, "pool", task.path))
    dropped: Dropped = {}
    if "id" in frame:
        frame = frame.assign(id=as_strings(frame, "id", task.path))
        frame = _with_canonical(frame, shown, modality, task.path)
    else:
        labels = [] if task.kind in RANKING_KINDS else ["label"]
        kept = _coerced(frame, shown, modality, task.path, labels)
        if task.kind == POOLED:
            kept["id"] = [_joined(pair) for pair in zip(kept["pool"], kept["id"], strict=True)]
        frame, dropped = _without_repeats(kept, len(frame) - len(kept), labels)
    frame = _with_roles(frame, task)
    if task.max_rows is not None:
        frame = _first_rows(frame.sort_values("id"), task, task.max_rows)
    if task.kind in PAIR_KINDS:
        return frame, dropped
    if "group" not in frame:
        pooled = task.kind == POOLED
        groups = frame["pool"] if pooled else groups_of(frame[shown[0]].tolist(), modality)
        frame = frame.assign(group=groups)
    if "split" not in frame and task.kind in SPLIT_KINDS:
        classes = frame["label"].tolist() if task.kind in CLASS_KINDS else None
        frame = frame.assign(split=split_of(frame["group"].tolist(), classes))
    return frame, dropped


def _first_rows(frame: pd.DataFrame, task: TaskParams, most: int) -> pd.DataFrame:
    """Return at most `most` rows; of a ranking, whole queries with all their answers come first, then other rows.

    Raises:
        DataError: A ranking's first query has more rows.
    """
    if task.kind not in RANKING_KINDS or "role" not in frame:
        return frame.head(most)
    key = frame["pool" if task.kind == POOLED else "label"]
    asked = key[frame["role"] == "query"].drop_duplicates()
    order = key.map({name: number for number, name in enumerate(asked)})
    sizes = order.value_counts().sort_index().cumsum()
    if len(sizes) and sizes.iloc[0] > most:
        raise DataError(
            f"{task.path}: `max_rows` must be enough for the first query and all rows that it ranks or that answer it, "
            f"{sizes.iloc[0]:,} rows, got {most:,}."
        )
    complete = order.isin(sizes.index[sizes <= most])
    others = frame[order.isna()]
    return pd.concat([frame[complete], others.head(most - int(complete.sum()))])


def benchmark_inputs(
    tasks: Mapping[str, pd.DataFrame], params: Mapping[str, TaskParams], modality: Modality
) -> pd.DataFrame:
    """Return the distinct inputs of all tasks, with columns `id` and the example, in the order of first use.

    They include the perturbed texts of tasks with `perturb`.
    """
    columns = [
        frame[side] for name, frame in tasks.items() for side in sides(params[name], modality)
    ]
    columns += [
        perturbed_examples(frame, params[name], modality, perturbation)
        for name, frame in tasks.items()
        for perturbation in params[name].perturb
    ]
    if not columns:
        return pd.DataFrame({"id": pd.Series(dtype=str), modality.column: pd.Series(dtype=str)})
    examples = pd.concat(columns, ignore_index=True)
    ids = examples.map(modality.content_id)
    inputs = pd.DataFrame({"id": ids, modality.column: examples})
    return inputs.drop_duplicates("id", ignore_index=True)


def perturbed_examples(
    frame: pd.DataFrame, task: TaskParams, modality: Modality, perturbation: str
) -> pd.Series:
    """Return the changed examples of a task's scored rows, of pairs the first ones, with the index of these rows."""
    examples: pd.Series = frame.loc[is_scored(frame, task), sides(task, modality)[0]]
    return examples.map(lambda one: perturb(perturbation, one, modality.content_id(one)))


def is_scored(frame: pd.DataFrame, task: TaskParams) -> pd.Series:
    """Return whether each row is scored: those with the split `test`, the queries, or all rows, by the kind of the task.

    A clustering or pairs may have a column `split`, such as that of a classification of the same table: all rows count.
    """
    if task.kind in SPLIT_KINDS:
        return frame["split"] == "test"
    if task.kind in RANKING_KINDS:
        return frame["role"] == "query"
    return pd.Series(data=True, index=frame.index, dtype=np.bool_)


def groups_by_id(frames: Mapping[str, pd.DataFrame]) -> dict[str, pd.Series]:
    """Return, for each task with groups, the group of each example by its id."""
    return {name: one.set_index("id")["group"] for name, one in frames.items() if "group" in one}


def sides(task: TaskParams, modality: Modality) -> list[str]:
    """Return the columns that hold a task's examples."""
    ends = ("1", "2") if task.kind in PAIR_KINDS else ("",)
    return [f"{modality.column}{end}" for end in ends]


def _has_content_ids(frame: pd.DataFrame, column: str, modality: Modality) -> bool:
    """Return whether most of the first ids of a corpus are content ids; a user's own ids are not content ids."""
    if "id" not in frame:
        return False
    shown = frame.loc[frame[column].notna(), ["id", column]].head(ROWS_TO_CHECK)
    pairs = shown.itertuples(index=False, name=None)
    n_content_ids = sum(
        isinstance(example, str | bytes) and name == modality.content_id(example)
        for name, example in pairs
    )
    return bool(2 * n_content_ids >= len(shown))


def _with_canonical(
    frame: pd.DataFrame, columns: Sequence[str], modality: Modality, path: str
) -> pd.DataFrame:
    """Bring the examples of a table with ids to their canonical form.

    Raises:
        DataError: An example has no canonical form.
    """

    def canonical(value: Any) -> Any:
        return modality.canonical(value) if isinstance(value, str | bytes) else value

    read = {
        column: _read_each(
            zip(frame.index + 1, frame[column], strict=True),
            canonical,
            f"{path}, column {column!r}, row",
        )
        for column in columns
    }
    return frame.assign(**read)


def _coerced(
    frame: pd.DataFrame,
    columns: Sequence[str],
    modality: Modality,
    path: str,
    labels: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the rows that are not empty, with their examples and content ids.

    Args:
        frame: The user's table; its index counts the rows from 0. Its ids are moved to the column `own`.
        columns: The columns of examples: one, or two for pairs. Their values are converted to examples.
        modality: The modality of the examples.
        path: The path of the table, for messages.
        labels: The columns of labels.

    Raises:
        DataError: The modality refuses a value; the message names it.
    """
    is_empty = frame[[*columns, *labels]].isna().any(axis=1)
    for column in columns:
        blank = (isinstance(cell, str | bytes) and not cell.strip() for cell in frame[column])
        is_empty |= np.fromiter(blank, dtype=np.bool_, count=len(frame))
    kept = frame[~is_empty].copy()
    for column in columns:
        numbered = zip(kept.index + 1, kept[column], strict=True)
        examples = _read_each(numbered, modality.coerce, f"{path}, column {column!r}, row")
        kept[column] = pd.Series(examples, index=kept.index, dtype=object)
    if "id" in kept:
        kept["own"] = as_strings(kept, "id", path)
    kept["id"] = _content_ids(kept, columns, modality)
    return kept


def _without_repeats(
    rows: pd.DataFrame, n_empty: int, labels: Sequence[str] = ()
) -> tuple[pd.DataFrame, Dropped]:
    """Return the first row of each example, with a new index from 0, and the numbers of dropped rows.

    Examples with several labels are dropped. The column `own` becomes `own_ids`, with the ids of all rows of an example.
    """
    kept = rows.drop(columns="own", errors="ignore")
    if "own" in rows:
        own = rows["own"].dropna()
        kept["own_ids"] = rows["id"].map(own.groupby(rows["id"]).unique())
    is_repeated = kept.duplicated(["id", *labels])
    kept = kept[~is_repeated]
    is_contradictory = kept.duplicated("id", keep=False)
    dropped = {
        "empty": n_empty,
        "repeated": int(is_repeated.sum()),
        "contradictory": int(is_contradictory.sum()),
    }
    return kept[~is_contradictory].reset_index(drop=True), dropped


def _content_ids(frame: pd.DataFrame, columns: Sequence[str], modality: Modality) -> list[str]:
    names = [[modality.content_id(one) for one in frame[column]] for column in columns]
    if len(names) == 1:
        return names[0]
    return [_joined(pair) for pair in zip(*names, strict=True)]


def _joined(names: Iterable[object]) -> str:
    """Return an id of several names, with 32 hexadecimal digits."""
    return hashlib.sha256(" ".join(map(str, names)).encode()).hexdigest()[:32]


def _with_examples(
    frame: pd.DataFrame, path: str, column: str | None, wanted: Sequence[str]
) -> pd.DataFrame:
    """Copy the examples to the columns `wanted`.

    The source is the column `column`; for pairs, the two columns with this prefix. If `column` is None, the source is
    the table's only column, or else the columns with the names `wanted`.

    Raises:
        DataError: The table has no such column.
    """
    if column is not None:
        ends = [name.removeprefix(wanted[0].rstrip("12")) for name in wanted]
        named = [f"{column}{end}" for end in ends]
    elif len(wanted) == 1 and len(frame.columns) == 1:
        named = [str(frame.columns[0])]
    else:
        named = list(wanted)
    for name in named:
        require_column(frame, name, path, "Name the column of the examples with `column`.")
    return frame.assign(**{new: frame[old] for new, old in zip(wanted, named, strict=True)})


def _with_labels(frame: pd.DataFrame, task: TaskParams) -> pd.DataFrame:
    """Copy the labels to the column `label`, as numbers if the kind of task needs numbers, and else as strings.

    Raises:
        DataError: The table has no such column, or a label of `pair-classification` is neither 0 nor 1.
    """
    hint = "Name the column of the labels with `label`."
    require_column(frame, task.label, task.path, hint)
    labels = frame[task.label]
    if task.kind not in NUMBER_KINDS:
        labels = as_strings(frame, task.label, task.path)
    elif not pd.api.types.is_numeric_dtype(labels):
        numbers = pd.to_numeric(labels, errors="coerce")
        labels = numbers if numbers.notna().sum() == labels.notna().sum() else labels
    if task.kind == "pair-classification":
        truth = labels.str.strip().str.lower().map(TRUTH)
        wrong = labels[truth.isna() & labels.notna()]
        if len(wrong):
            raise DataError(
                f"{task.path}, column {task.label!r}, row {wrong.index[0] + 1}: a label of pair-classification must be "
                f"0 or 1, false or true, got {short(wrong.iloc[0])} ({len(wrong)} such rows)."
            )
        labels = truth
    return frame.assign(label=labels)


def _with_roles(frame: pd.DataFrame, task: TaskParams) -> pd.DataFrame:
    """Copy the columns that a task's settings name for splits and groups to `split` and `group`."""
    for role, column in (("split", task.split), ("group", task.group)):
        if column != role:
            require_column(frame, column, task.path)
            frame = frame.assign(**{role: frame[column]})
        if role in frame:
            frame = frame.assign(**{role: as_strings(frame, role, task.path)})
    return frame


def as_strings(frame: pd.DataFrame, column: str, path: str) -> pd.Series:
    """Return labels, ids or groups as strings, so that `1` and `01` differ; a missing value stays missing."""
    filled = frame[column].dropna()
    numbered = zip(filled.index + 1, filled, strict=True)
    strings = _read_each(numbered, _string, f"{path}, column {column!r}, row")
    return pd.Series(strings, filled.index, dtype="str").reindex(frame.index)


def _string(value: object) -> str:
    try:
        text = value.decode("utf-8") if isinstance(value, bytes) else str(value)
        text.encode("utf-8")  # fails for a lone surrogate
    except UnicodeError as error:
        raise DataError(f"must be UTF-8 text, got {short(value)}.") from error
    return text
