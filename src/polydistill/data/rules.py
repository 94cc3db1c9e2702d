"""Validation rules for the corpus and the tasks, and the derived columns that the rules need."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from polydistill.config.data import TaskParams
from polydistill.contracts import Example, Modality, Rule
from polydistill.data.modalities import between, in_set, rule
from polydistill.data.tables import (
    CLASS_KINDS,
    NUMBER_KINDS,
    PAIR_KINDS,
    POOLED,
    RANKING_KINDS,
    is_scored,
    sides,
)
from polydistill.errors import DataError, short

SPLIT_KEY = "split_key"
ROLES = ("query", "corpus")
LARGEST_CLASS = 0.8
ALONE = "id"
"""The group column of a task in which every row is its own group."""
SHOWN_COLUMNS = "examples"
"""The key in a table's `attrs` of the columns with examples."""
Checked = tuple[pd.DataFrame, list[Rule]]
"""A table with the columns that the rules need, and the rules."""


class TaskKeys:
    """Searches a corpus for the examples of tasks, by near key; only the keys of the tasks are in memory.

    Args:
        frames: The tables of the tasks; see `tables.complete_task`.
        params: The tasks' settings.
        kind: The modality, which has the near keys.
    """

    def __init__(
        self, frames: Mapping[str, pd.DataFrame], params: Mapping[str, TaskParams], kind: Modality
    ) -> None:
        self._kind = kind
        self._wanted = {
            kind.near_key(one)
            for name, frame in frames.items()
            for column in sides(params[name], kind)
            for one in frame[column]
            if isinstance(one, str | bytes)
        }
        self.found: set[str] = set()
        """The near keys of the tasks' examples that the corpus has."""

    def search(self, examples: Sequence[Example]) -> None:
        """Search a part of the corpus."""
        self.found |= self._wanted.intersection(map(self._kind.near_key, examples))


def corpus_rules(frame: pd.DataFrame, path: str, kind: Modality) -> Checked:
    """Return a part of the corpus with the columns that its rules need, and the rules.

    Args:
        frame: The part, with a column `n_same_example`; see `preparation.Preparation`.
        path: The path of the corpus, for messages.
        kind: The modality of the examples.

    Raises:
        DataError: A value is not an example.
    """
    frame = _with_derived(frame, path, [kind.column], kind)
    frame["id_is_content"] = (frame["id"] == frame["content_id"]) | frame[kind.column].isna()
    return frame, [
        rule("to_exist", "group", "the groups are missing"),
        _not_null("id", "an id is missing"),
        rule("values_to_be_unique", "id", "an id occurs twice"),
        _not_null(kind.column, "an example is missing"),
        _not_null("group", "a group is missing"),
        in_set("id_is_content", [True], "an id is not the hash of its example's content"),
        in_set("n_same_example", [1], "an example occurs twice"),
        *kind.corpus_rules(),
    ]


def task_rules(
    frame: pd.DataFrame, task: TaskParams, kind: Modality, corpus_keys: Collection[str]
) -> Checked:
    """Return a task's table with the columns that its rules need, and the rules.

    Args:
        frame: The table that `tables.complete_task` returns.
        task: The settings of the task.
        kind: The modality of the task's examples.
        corpus_keys: The `near_key` of the examples of the corpus; see `TaskKeys`.

    Raises:
        DataError: There is no row, a value is not an example, or a column of a ranking task is missing.
    """
    columns = sides(task, kind)
    if frame.empty:
        raise DataError(f"{task.path} must have rows with an example and a label, got none.")
    frame = _with_derived(frame, task.path, columns, kind)
    # The pools of a reranking task may share examples.
    keys = ["pool", "content_id"] if task.kind == POOLED else ["content_id"]
    same = frame.groupby(keys, dropna=False)
    frame["n_same_example"] = same["content_id"].transform("size")
    frame["n_labels_of_example"] = same["label"].transform("nunique", dropna=False)
    frame["in_corpus"] = [  # for a pair, both sides must be in the corpus
        all(not pd.isna(side) and kind.near_key(side) in corpus_keys for side in row)
        for row in frame[columns].itertuples(index=False)
    ]
    rules = [
        _not_null("id", "an id is missing"),
        rule("values_to_be_unique", "id", "an id occurs twice"),
        *([] if task.kind in RANKING_KINDS else [_not_null("label", "a label is missing")]),
        *kind.task_rules(columns),
        in_set("n_labels_of_example", [1], "the same input has contradictory labels"),
        in_set("n_same_example", [1], "an example occurs twice"),
        in_set("in_corpus", [False], "a benchmark example is in the corpus"),
        *(_not_null(column, "an example is missing") for column in columns),
    ]
    if task.label_range is not None:
        low, high = task.label_range
        because = f"a label is outside [{low:g}, {high:g}]"
        rules.append(between("label", because, min_value=low, max_value=high))
    if "split" in frame and task.kind not in PAIR_KINDS:
        rules += _add_splits(frame, task, kind)
    if task.kind in RANKING_KINDS:
        rules += _add_answers(frame, task)
    return frame, rules + _add_labels(frame, task)


def _with_derived(
    frame: pd.DataFrame, path: str, columns: Sequence[str], kind: Modality
) -> pd.DataFrame:
    """Return a copy with the columns that the rules of every table need.

    Examples are equal if their content ids are: `CCO` and `OCC`, or two compressions of one image.
    """
    frame = frame.copy()
    for column in columns:
        filled = frame[column].dropna()  # a CSV file, for example, may hold numbers
        wrong = filled[[not isinstance(value, str | bytes) for value in filled]]
        if len(wrong):
            raise DataError(
                f"{path}: column {column!r} must contain examples, got {short(wrong.iloc[0])} in "
                f"row {wrong.index[0]} ({len(wrong)} such rows)."
            )
    rows = frame[list(columns)].itertuples(index=False, name=None)
    shown = [[one for one in row if isinstance(one, str | bytes)] for row in rows]
    for name, numbers in kind.derived(shown).items():
        frame[name] = list(numbers)
    frame["content_id"] = [" ".join(map(kind.content_id, row)) for row in shown]
    frame.attrs[SHOWN_COLUMNS] = [*columns]
    return frame


def _add_splits(frame: pd.DataFrame, task: TaskParams, kind: Modality) -> list[Rule]:
    """Add the number of splits of each group and of each split key, and return the rules about them.

    Split keys are not checked if the modality has none, or if every row is its own group.
    """
    frame["n_splits_of_group"] = frame.groupby("group")["split"].transform("nunique")
    frame["n_splits"] = frame["split"].nunique()
    rules = [
        _not_null("group", "a group is missing"),
        in_set("n_splits", [2], "there are no train rows or no test rows"),
        in_set("n_splits_of_group", [1], "a group is in both splits"),
        _not_null("split", "a split is missing"),
        in_set("split", ["train", "test"], "a split is neither train nor test"),
    ]
    keys = frame[kind.column].dropna().map(kind.split_key).reindex(frame.index)
    if task.group != ALONE and keys.notna().any():
        frame[SPLIT_KEY] = keys
        n_splits = frame.groupby(keys)["split"].transform("nunique")
        frame["n_splits_of_key"] = n_splits.fillna(1)
        because = f"examples with the same {SPLIT_KEY} are in both splits"
        rules.append(in_set("n_splits_of_key", [1], because))
    return rules


def _add_answers(frame: pd.DataFrame, task: TaskParams) -> list[Rule]:
    """Add the number of roles, and whether each query has a label and an answer; return their rules."""
    if "role" not in frame:
        raise DataError(f"{task.path} must have a column 'role': {' or '.join(ROLES)}.")
    roles, labels = frame["role"], frame["label"]
    keys = labels
    if task.kind == POOLED:
        keys = pd.Series([*zip(frame["pool"], labels, strict=True)], frame.index)
    answered = keys.isin(keys[(roles == "corpus") & labels.notna()])
    frame["n_roles"] = roles[roles.isin(ROLES)].nunique()
    frame["has_answer"] = (roles != "query") | answered | labels.isna()
    frame["is_labelled"] = (roles != "query") | labels.notna()
    pools = [_not_null("pool", "a pool is missing")] if task.kind == POOLED else []
    where = " in its pool" if pools else ""
    because = f"a query has no corpus row with its label{where}"
    return [
        *pools,
        in_set("is_labelled", [True], "a label is missing"),
        _not_null("role", "a role is missing"),
        in_set("role", list(ROLES), "a role is neither query nor corpus"),
        in_set("n_roles", [2], "there are no query rows or no corpus rows"),
        in_set("has_answer", [True], because),
    ]


def _add_labels(frame: pd.DataFrame, task: TaskParams) -> list[Rule]:
    """Add the columns that the rules about labels need, and return these rules. They depend on the kind of task."""
    labels, rules = frame["label"], []
    if task.kind in NUMBER_KINDS:
        numbers = pd.to_numeric(labels, errors="coerce")
        frame["label_is_finite"] = numbers.map(math.isfinite)
        frame["n_scored_labels"] = numbers[is_scored(frame, task)].nunique()
        return [
            in_set("label_is_finite", [True], "a label is not a finite number"),
            between("n_scored_labels", "the labels of the scored rows are all equal", min_value=2),
        ]
    if task.kind == POOLED:
        return []  # nearly all candidates may be irrelevant
    if task.kind in CLASS_KINDS:
        learnt = labels[frame["split"] == "train"]
        frame["label_is_in_train"] = labels.isin(learnt) | labels.isna()
        because = "a label does not occur in the training split"
        rules.append(in_set("label_is_in_train", [True], because))
        frame["n_train_of_label"] = labels.map(learnt.value_counts())
        because = f"a label has fewer than {task.shots} training rows, the task's `shots`"
        shots = [] if task.shots is None else [task.shots]
        rules += [between("n_train_of_label", because, min_value=one) for one in shots]
    if task.kind == "pair-classification":
        frame["n_labels"] = labels.nunique()
        return [*rules, in_set("n_labels", [2], "there are no pairs with the label 0 or with 1")]
    if task.kind == "binary-classification":
        frame["n_scored_labels"] = labels[is_scored(frame, task)].nunique()
        frame["n_labels"] = labels.nunique()
        because = "a binary task must have two labels, each of them in both splits"
        rules += [in_set(name, [2], because) for name in ("n_labels", "n_scored_labels")]
    frame["label_share"] = labels.map(labels.value_counts(normalize=True))
    because = "one class has nearly all rows"
    return [*rules, between("label_share", because, max_value=LARGEST_CLASS)]


def require_scorable(name: str, frame: pd.DataFrame, task: TaskParams) -> None:
    """Check what scoring needs in the table of a task that the validate stage has not checked.

    Raises:
        DataError: An id is repeated, a label is not a finite number, or there is only one class.
    """
    ids, labels = frame["id"], frame["label"]
    repeated, because = ids[ids.duplicated()], None
    if len(repeated):
        because = f"the id {short(repeated.iloc[0])} must be unique, got {(ids == repeated.iloc[0]).sum()} rows with it"
    elif task.kind in NUMBER_KINDS:
        wrong = labels[~pd.to_numeric(labels, errors="coerce").map(math.isfinite)]
        if len(wrong):
            because = f"a label must be a finite number, got {short(wrong.tolist()[0])} in row {wrong.index[0] + 1}"
    elif task.kind not in RANKING_KINDS:
        learnt = labels[frame["split"] == "train"] if task.kind in CLASS_KINDS else labels
        if learnt.nunique() == 1:
            where = " in its train rows" if task.kind in CLASS_KINDS else ""
            because = f"it must have at least two labels{where}, got only {short(learnt.iloc[0])}"
    if because:
        raise DataError(f"Task {name!r}: {because}.")


def _not_null(column: str, because: str) -> Rule:
    return rule("values_to_not_be_null", column, because)
