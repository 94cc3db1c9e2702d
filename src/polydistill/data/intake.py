"""Corpus and benchmark task of a new project, made from a user's files, with no example in common."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from polydistill.config.data import CorpusParams, TaskKind, TaskParams
from polydistill.contracts import Modality, Rule
from polydistill.data.completion import Dropped, groups_of
from polydistill.data.guess import guess_column, guess_kind, guess_label
from polydistill.data.tables import complete_task, corpus_table, sides
from polydistill.errors import DataError

MOST_TASK_ROWS = 2_000
"""The greatest number of rows of a labelled corpus that become the task; at most half of the corpus does."""


@dataclass(frozen=True)
class Task:
    """A benchmark task of a new project.

    Attributes:
        name: The name in `params.yaml`.
        kind: The kind of task.
        frame: The rows of the file that will be written.
        n_test: The number of rows that the score is computed on.
        dropped: The numbers of rows that cannot be used.
    """

    name: str
    kind: TaskKind
    frame: pd.DataFrame
    n_test: int
    dropped: Dropped


@dataclass(frozen=True)
class Intake:
    """The data of a new project.

    Attributes:
        corpus: The rows of the corpus file that will be written: one column.
        dropped: The numbers of rows of the user's table that cannot be used.
        n_in_task: The number of rows left out of the corpus because they, or near-duplicates, are in the task.
        task: The benchmark task; None without labels.
        notes: Sentences that tell the user what was guessed.
    """

    corpus: pd.DataFrame
    dropped: Dropped
    n_in_task: int
    task: Task | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Named:
    """Choices that the user has made; the others are guessed.

    Attributes:
        column: The column of examples.
        label: The column of labels.
        kind: The kind of task.
    """

    column: str | None = None
    label: str | None = None
    kind: TaskKind | None = None


def take_in(
    corpus: pd.DataFrame, task: pd.DataFrame | None, modality: Modality, named: Named
) -> Intake:
    """Find the examples and the labels, and divide them into a corpus and a task.

    Args:
        corpus: The user's table of examples.
        task: The user's table of labelled examples; None: a part of a labelled corpus becomes the task.
        modality: The modality of the examples.
        named: The choices that the user has made.

    Raises:
        DataError: A named column is missing, or the corpus or the task has no usable row.
    """
    notes: list[str] = []
    source = corpus if task is None else task
    in_corpus, in_task = named.column in corpus, named.column in source or named.kind == "sts"
    column = _column(
        corpus, modality, named.column if in_corpus or not in_task else None, "corpus", notes
    )
    own = named if in_task else Named(None, named.label, named.kind)
    task_column = column if task is None else _task_column(source, modality, own, notes)
    label = _label(source, task_column, named.label, is_task=task is not None, notes=notes)
    usable, dropped = corpus_table(corpus, CorpusParams(path="the corpus", column=column), modality)
    usable = usable[[modality.column]]
    if label is None:
        rest = _checked_corpus(usable, modality, notes)
        return Intake(rest, dropped, 0, None, tuple(notes))
    kind = named.kind or guess_kind(source[label], label)
    if named.kind is None:
        notes.append(f"Column {label!r} has labels; the task is {kind}.")
    if task is None:
        source = _held_back(corpus, column, modality)
    made, refused = _task(source, task_column, label, kind, modality)
    notes += [f"Left out of the task: {one}." for one in refused]
    rest = _without(usable, _near_keys(made.frame, modality), modality)
    n_in_task = len(usable) - len(rest)
    rest = _checked_corpus(rest, modality, notes)
    return Intake(rest, dropped, n_in_task, made, tuple(notes))


def _checked_corpus(frame: pd.DataFrame, modality: Modality, notes: list[str]) -> pd.DataFrame:
    """Return the rows that the modality accepts.

    Raises:
        DataError: There is none.
    """
    frame, refused = _fit(frame, [modality.column], modality, modality.corpus_rules())
    notes += [f"Left out of the corpus: {one}." for one in refused]
    if frame.empty:
        raise DataError("The corpus must have usable examples that are not in the task, got none.")
    return frame


def _column(
    frame: pd.DataFrame, modality: Modality, named: str | None, what: str, notes: list[str]
) -> str:
    if named is not None:
        _require(frame, named, what)
        return named
    found = guess_column(frame, modality)
    notes.append(f"Column {found!r} of the {what} has the examples.")
    return found


def _task_column(frame: pd.DataFrame, modality: Modality, named: Named, notes: list[str]) -> str:
    if named.kind == "sts":  # two columns: text1 and text2
        return named.column or modality.column
    return _column(frame, modality, named.column, "task", notes)


def _label(
    frame: pd.DataFrame, column: str, named: str | None, *, is_task: bool, notes: list[str]
) -> str | None:
    if named is not None:
        _require(frame, named, "task" if is_task else "corpus")
        return named
    found = guess_label(frame, column)
    if found is None and is_task:
        raise DataError(
            f"The task must have a column of labels, got {', '.join(map(str, frame.columns))}: "
            "name it with --label."
        )
    if found is not None and not is_task:
        notes.append(f"A part of the corpus becomes a task: to predict {found!r}.")
    return found


def _require(frame: pd.DataFrame, column: str, what: str) -> None:
    if column not in frame:
        raise DataError(
            f"The {what} must have a column {column!r}, got {', '.join(map(str, frame.columns))}."
        )


def _held_back(corpus: pd.DataFrame, column: str, modality: Modality) -> pd.DataFrame:
    """Return the rows of a corpus that become the task: whole groups of near-duplicates, chosen by hash."""
    named = CorpusParams(path="the corpus", column=column)
    usable, _ = corpus_table(corpus, named, modality)
    groups = groups_of(usable[modality.column].tolist(), modality)
    share = min(0.5, MOST_TASK_ROWS / len(usable)) if len(usable) else 0.0
    chosen = {
        name for name, group in zip(usable["id"], groups, strict=True) if _draw(group) < share
    }
    shown = corpus[corpus[column].notna()]
    names = shown[column].map(lambda value: modality.content_id(modality.coerce(value)))
    return shown[names.isin(chosen)]


def _draw(group: str) -> float:
    """Return a number in [0, 1) that depends only on the group's name."""
    return int.from_bytes(hashlib.sha256(f"task {group}".encode()).digest()[:8], "big") / 2**64


def _task(
    source: pd.DataFrame, column: str, label: str, kind: TaskKind, modality: Modality
) -> tuple[Task, list[str]]:
    name = "-".join("".join(c if c.isalnum() else " " for c in label.lower()).split()) or "label"
    params = TaskParams(kind=kind, path="the task", domain="in", column=column, label=label)
    complete, dropped = complete_task(source.drop(columns="id", errors="ignore"), params, modality)
    shown = sides(params, modality)
    complete, refused = _fit(complete, shown, modality, modality.task_rules(shown))
    if complete.empty:
        raise DataError("The task must have rows with an example and a label, got none.")
    n_test = int((complete["split"] == "test").sum()) if "split" in complete else len(complete)
    columns = [*shown, "label", *(one for one in ("role", "group", "split") if one in source)]
    return Task(name, kind, complete[columns], n_test, dropped), refused


def _fit(
    frame: pd.DataFrame, columns: Sequence[str], modality: Modality, rules: Sequence[Rule]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows that the modality's rules accept, and one note per rule that refuses rows, with their number.

    Only rules about a single row are applied here; validation applies all rules.
    """
    shown = [list(row) for row in frame[list(columns)].itertuples(index=False, name=None)]
    derived = frame.assign(**{k: list(v) for k, v in modality.derived(shown).items()})
    is_fit, refused = pd.Series(data=True, index=frame.index), []
    for rule in rules:
        meets = ROW_RULES.get(rule.type)
        if meets is None:
            continue
        accepted = meets(derived[str(rule.kwargs["column"])], rule.kwargs)
        if count := int((is_fit & ~accepted).sum()):
            refused.append(f"{count:,} ({rule.because})")
        is_fit &= accepted
    return frame[is_fit].reset_index(drop=True), refused


def _between(values: pd.Series, limits: Mapping[str, Any]) -> pd.Series:
    low, high = limits.get("min_value"), limits.get("max_value")
    above = values >= (-math.inf if low is None else low)
    return above & (values <= (math.inf if high is None else high))


ROW_RULES: dict[str, Callable[[pd.Series, Mapping[str, Any]], pd.Series]] = {
    "expect_column_values_to_be_between": _between,
    "expect_column_value_lengths_to_be_between": lambda values, limits: _between(
        values.map(len), limits
    ),
    "expect_column_values_to_be_in_set": lambda values, limits: values.isin(limits["value_set"]),
}


def _near_keys(frame: pd.DataFrame, modality: Modality) -> set[str]:
    columns = [name for name in frame if str(name).rstrip("12") == modality.column]
    return {modality.near_key(one) for name in columns for one in frame[name].dropna()}


def _without(corpus: pd.DataFrame, keys: set[str], modality: Modality) -> pd.DataFrame:
    """Return the examples of a corpus that are not near-duplicates of a task's examples."""
    is_new = [modality.near_key(one) not in keys for one in corpus[modality.column]]
    return corpus[is_new].reset_index(drop=True)


def few_words(dropped: Dropped) -> Sequence[str]:
    """Return the numbers of dropped rows, each with the reason.

    Examples:
        >>> few_words(Dropped(empty=3, repeated=1))
        ['3 empty', '1 repeated']
    """
    counts = {
        "empty": dropped.empty,
        "repeated": dropped.repeated,
        "with several labels": dropped.contradictory,
    }
    return [f"{count:,} {what}" for what, count in counts.items() if count]
