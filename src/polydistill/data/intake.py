"""Build a new project's corpus and benchmark task from a user's files, without examples in common."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from polydistill.config.data import UTF_8, CorpusParams, TaskKind, TaskParams
from polydistill.contracts import Modality, Rule
from polydistill.data.files import require_column
from polydistill.data.groups import draw, groups_of
from polydistill.data.inputs import guess_column, guess_kind, guess_label
from polydistill.data.tables import PAIR_KINDS, complete_task, corpus_table, sides
from polydistill.errors import DataError

MOST_TASK_ROWS = 2_000
"""The approximate maximum number of rows of a labelled corpus that become the task, at most half of the corpus."""
MAX_NAME = 64
REASONS = {"contradictory": "with several labels"}
"""The text in a note for each reason why `data.tables` drops rows; other reasons are shown unchanged."""


@dataclass(frozen=True)
class Task:
    """A benchmark task of a new project.

    Attributes:
        name: The name in `params.yaml`.
        kind: The kind of task.
        frame: The rows to write to the task's file.
        n_test: The number of rows on which the score is computed.
    """

    name: str
    kind: TaskKind
    frame: pd.DataFrame
    n_test: int


@dataclass(frozen=True)
class Intake:
    """The data of a new project.

    Attributes:
        corpus: The rows to write to the corpus file; one column, and `id` if the user's table has it.
        task: The benchmark task; None without labels.
        notes: Messages for the user: what was guessed and which rows were left out.
    """

    corpus: pd.DataFrame
    task: Task | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Named:
    """The user's explicit choices; a field that is None is guessed.

    Attributes:
        column: The column of examples.
        label: The column of labels.
        kind: The kind of task.
        encoding: The encoding of text formats.
    """

    column: str | None = None
    label: str | None = None
    kind: TaskKind | None = None
    encoding: str = UTF_8


def take_in(
    corpus: pd.DataFrame, task: pd.DataFrame | None, modality: Modality, named: Named
) -> Intake:
    """Find the columns of examples and labels, and divide the rows into a corpus and a task.

    Args:
        corpus: The user's table of examples.
        task: The user's table of labelled examples. If it is None and the corpus has labels, a part of the corpus
            becomes the task.
        modality: The modality of the examples.
        named: The user's explicit choices.

    Raises:
        DataError: A named column is missing, or the corpus or the task has no usable row.
    """
    reading = _Reading(modality, named)
    source, notes = corpus if task is None else task, reading.notes
    column, task_column = reading.columns(corpus, task)
    label = reading.label(source, task_column, is_task=task is not None)
    # Not validated: the name of a user's column need not be a valid setting, and is not written to params.yaml.
    params = CorpusParams.model_construct(path="the corpus", column=column)
    usable, dropped = corpus_table(corpus, params, modality)
    made, rest = None, usable[[modality.column]]
    if "own_ids" in usable:  # a table of precomputed embeddings may use them
        rest = rest.assign(id=usable["own_ids"].str[0])
    if label is not None:
        kind = named.kind or guess_kind(source[label], label)
        if named.kind is None:
            notes.append(f"Column {label!r} has labels; the task is {kind}.")
        if task is None:
            source = _held_back(corpus, column, usable, modality)
        wanted = TaskParams.model_construct(
            kind=kind, path="the task", domain="in", column=task_column, label=label
        )
        made = reading.task(source, wanted)
        rest = _without(rest, made.frame[sides(wanted, modality)], modality)
    n_in_task = len(usable) - len(rest)
    rest = reading.fit(rest, [modality.column], modality.corpus_rules(), "corpus")
    if rest.empty:
        raise DataError("The corpus must have usable examples that are not in the task, got none.")
    reading.note_dropped("corpus", dropped)
    if n_in_task:
        notes.append(f"Left out of the corpus, because the task has them: {n_in_task:,} examples.")
    return Intake(rest, made, tuple(notes))


class _Reading:
    """Reads a user's tables and collects notes on guesses and on rows that are left out."""

    def __init__(self, modality: Modality, named: Named) -> None:
        self.modality, self.named, self.notes = modality, named, list[str]()

    def columns(self, corpus: pd.DataFrame, task: pd.DataFrame | None) -> tuple[str, str]:
        """Return the corpus's and the task's column of examples; the user's choice may be a column of either table."""
        named, is_pairs = self.named.column, self.named.kind in PAIR_KINDS
        in_task = is_pairs or named in (corpus if task is None else task)
        own = None if in_task and named not in corpus else named
        column = self._column(corpus, own, "corpus")
        if task is None:
            return column, column
        if is_pairs:  # a common prefix: text for text1 and text2
            return column, named or self.modality.column
        return column, self._column(task, named if in_task else None, "task")

    def _column(self, frame: pd.DataFrame, named: str | None, what: str) -> str:
        if named is not None:
            require_column(frame, named, f"The {what}")
            return named
        found = guess_column(frame, self.modality)
        self.notes.append(f"Column {found!r} of the {what} has the examples.")
        return found

    def label(self, frame: pd.DataFrame, column: str, *, is_task: bool) -> str | None:
        """Return the column of labels; None if the table is a corpus without labels."""
        if self.named.label is not None:
            require_column(frame, self.named.label, "The task" if is_task else "The corpus")
            return self.named.label
        found = guess_label(frame, column)
        if found is None and is_task:
            require_column(frame, "label", "The task", "Name the column of labels with --label.")
        if found is not None and not is_task:
            self.notes.append(f"A part of the corpus becomes a task: to predict {found!r}.")
        return found

    def task(self, source: pd.DataFrame, params: TaskParams) -> Task:
        """Return a task made from the usable rows of a table of labelled examples."""
        label = params.label.lower()[:MAX_NAME]
        letters = "".join(c if c.isascii() and c.isalnum() else " " for c in label)
        source, shown = source.drop(columns="id", errors="ignore"), sides(params, self.modality)
        frame, dropped = complete_task(source, params, self.modality)
        frame = self.fit(frame, shown, self.modality.task_rules(shown), "task")
        if frame.empty:
            raise DataError("The task must have rows with an example and a label, got none.")
        self.note_dropped("task", dropped)
        n_test = int((frame["split"] == "test").sum()) if "split" in frame else len(frame)
        columns = [*shown, "label", *(one for one in ("role", "group", "split") if one in source)]
        return Task("-".join(letters.split()) or "label", params.kind, frame[columns], n_test)

    def fit(
        self, frame: pd.DataFrame, columns: Sequence[str], rules: Sequence[Rule], what: str
    ) -> pd.DataFrame:
        """Return the rows that satisfy the modality's rules, and add a note on each rule that rejects rows.

        Only rules about a single row are applied here; validation applies all rules.
        """
        shown = [list(row) for row in frame[list(columns)].itertuples(index=False, name=None)]
        derived = frame.assign(**{k: list(v) for k, v in self.modality.derived(shown).items()})
        is_fit = pd.Series(data=True, index=frame.index)
        for rule in rules:
            meets = ROW_RULES.get(rule.type)
            if meets is None:
                continue
            accepted = meets(derived[str(rule.kwargs["column"])], rule.kwargs)
            if count := int((is_fit & ~accepted).sum()):
                self.notes.append(f"Left out of the {what}: {count:,} ({rule.because}).")
            is_fit &= accepted
        return frame[is_fit].reset_index(drop=True)

    def note_dropped(self, what: str, dropped: Mapping[str, int]) -> None:
        """Add a note with the number of rows that `data.tables` dropped, by reason."""
        counts = (f"{n:,} {REASONS.get(reason, reason)}" for reason, n in dropped.items() if n)
        if any(dropped.values()):
            self.notes.append(f"Left out of the {what}: {', '.join(counts)}.")


def _held_back(
    corpus: pd.DataFrame, column: str, usable: pd.DataFrame, modality: Modality
) -> pd.DataFrame:
    """Return the rows of a corpus that become the task: whole groups of near-duplicates, chosen by hash."""
    groups = groups_of(usable[modality.column].tolist(), modality)
    share = min(0.5, MOST_TASK_ROWS / max(len(usable), 1))
    ids = zip(usable["id"], groups, strict=True)
    chosen = {name for name, group in ids if draw("task", group) < share}
    shown = corpus[corpus[column].notna()]
    names = shown[column].map(lambda value: modality.content_id(modality.coerce(value)))
    return shown[names.isin(chosen)]


def _without(corpus: pd.DataFrame, shown: pd.DataFrame, modality: Modality) -> pd.DataFrame:
    """Return the examples of a corpus that are not near-duplicates of the examples of a task."""
    keys = {modality.near_key(one) for column in shown for one in shown[column].dropna()}
    return corpus[~corpus[modality.column].map(modality.near_key).isin(keys)]


def _between(values: pd.Series, limits: Mapping[str, Any]) -> pd.Series:
    return values.between(limits.get("min_value", -math.inf), limits.get("max_value", math.inf))


ROW_RULES: dict[str, Callable[[pd.Series, Mapping[str, Any]], pd.Series]] = {
    "expect_column_values_to_be_between": _between,
    "expect_column_value_lengths_to_be_between": lambda values, limits: _between(
        values.map(len), limits
    ),
    "expect_column_values_to_be_in_set": lambda values, limits: values.isin(limits["value_set"]),
}
"""The functions that check each value of a column, by expectation type; only for rules about a single row."""
