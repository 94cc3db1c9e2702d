"""The validate stage: checks the corpus and every task before other stages use them."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from polydistill.config.data import TaskParams
from polydistill.config.params import Params
from polydistill.contracts import Modality, Rule
from polydistill.data.completion import Dropped
from polydistill.data.files import read_table
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import (
    CLASS_KINDS,
    available_tasks,
    complete_task,
    corpus_table,
    read_corpus,
    sides,
)
from polydistill.errors import DataError, ValidationFailedError
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout

EXAMPLES = 3
SHOWN = 5
SPLIT_KEY = "split_key"
BESIDE_EXAMPLES = ("id", "label", "group", "split", "role", SPLIT_KEY)
ROLES = ("query", "corpus")
LARGEST_CLASS = 0.8
RETRIEVAL = "retrieval"
ALONE = "id"
"""As the group column of a task, it makes every row its own group."""


@dataclass(frozen=True)
class RuleResult:
    """The result of one rule on one table.

    Attributes:
        table: The table's name.
        type: The expectation's type.
        column: The column that it checks; empty if none.
        success: Whether the rule holds.
        count: Number of rows that break it.
        because: What is wrong when it fails.
        rows: Index labels of the first rows that break it.
    """

    table: str
    type: str
    column: str
    success: bool
    count: int
    because: str
    rows: tuple[int, ...] = ()


class RuleChecker(Protocol):
    """Checks rules about tables; `integrations` implements it with Great Expectations."""

    def check(self, tables: Mapping[str, tuple[pd.DataFrame, Sequence[Rule]]]) -> list[RuleResult]:
        """Return one result per rule, in order."""


@dataclass(frozen=True)
class ValidationReport:
    """The result of the validate stage.

    Attributes:
        tables: Number of tables.
        rules: Number of rules, all of which hold.
        unavailable: Third-party tasks that are missing.
        dropped: By table, the user's rows that are not used, and why; only tables with such rows are listed.
    """

    tables: int
    rules: int
    unavailable: tuple[str, ...]
    dropped: dict[str, Dropped]


def validate(root: Path, params: Params, modality: str, checker: RuleChecker) -> ValidationReport:
    """Check all tables, write `validation.json`, and stop the pipeline if a rule fails.

    Raises:
        ValidationFailedError: Names table, expectation, column, count and three example rows.
        DataError: A file is missing, damaged, or lacks a column.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    kind = MODALITIES.get(modality)()
    corpus, dropped = read_corpus(root, block.corpus, kind), dict[str, Dropped]()
    _require_examples(block.corpus.path, corpus, [kind.column])
    whole, dropped["corpus"] = corpus_table(
        read_table(root / block.corpus.path), block.corpus, kind
    )  # a later run may use more of its rows
    keys = set(whole[kind.column].dropna().map(kind.near_key))
    tasks = {}
    for name, task in available_tasks(root, block.tasks).items():
        tasks[name], dropped[name] = complete_task(read_table(root / task.path), task, kind)
    dropped = {name: rows for name, rows in dropped.items() if rows}
    tables: dict[str, tuple[pd.DataFrame, Sequence[Rule]]] = {
        "corpus": (_corpus_frame(corpus, kind), _corpus_rules(kind))
    }
    for name, frame in tasks.items():
        task = block.tasks[name]
        _require_examples(task.path, frame, sides(task, kind))
        if task.kind == RETRIEVAL and "role" not in frame:
            raise DataError(f"{task.path} must have a column 'role': {' or '.join(ROLES)}.")
        checked = _task_frame(frame, task, kind, keys)
        tables[name] = checked, _task_rules(task, kind, set(checked.columns))
    results = checker.check(tables)
    failed = [result for result in results if not result.success]
    unavailable = tuple(name for name in block.tasks if name not in tasks)
    _write(layout.validation, results, unavailable, dropped)
    if failed:
        raise ValidationFailedError(_explain_all(failed, tables, kind))
    return ValidationReport(len(tables), len(results), unavailable, dropped)


def _require_examples(path: str, frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Check that the columns hold examples and not, for example, numbers from a CSV file."""
    for column in columns:
        wrong = frame[column].dropna().map(lambda value: not isinstance(value, str | bytes))
        if wrong.any():
            row = wrong[wrong].index[0]
            raise DataError(
                f"{path}: column {column!r} must hold examples, got {frame[column][row]!r} in "
                f"row {row} ({int(wrong.sum())} such rows)."
            )


def _corpus_frame(frame: pd.DataFrame, kind: Modality) -> pd.DataFrame:
    frame = _with_derived(frame, [kind.column], kind)
    names = frame[kind.column].dropna().map(kind.content_id).reindex(frame.index)
    frame["id_is_content"] = (frame["id"] == names) | names.isna()
    return frame


def _with_derived(frame: pd.DataFrame, columns: Sequence[str], kind: Modality) -> pd.DataFrame:
    """Add the columns that rules need and that the table lacks."""
    frame = frame.copy()
    rows = frame[list(columns)].itertuples(index=False, name=None)
    shown = [[one for one in row if isinstance(one, str | bytes)] for row in rows]
    for name, numbers in kind.derived(shown).items():
        frame[name] = list(numbers)
    same = _numbered(frame, columns)
    frame["n_same_example"] = same.map(same.value_counts())
    return frame


def _numbered(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series[int]:
    """Return a number per row that is equal for rows with equal examples."""
    rows = frame[list(columns)].fillna("").itertuples(index=False, name=None)
    numbers: dict[tuple[object, ...], int] = {}
    return pd.Series(
        [numbers.setdefault(row, len(numbers)) for row in rows], index=frame.index, dtype=int
    )


def _task_frame(
    frame: pd.DataFrame, task: TaskParams, kind: Modality, corpus_keys: set[str]
) -> pd.DataFrame:
    shown = sides(task, kind)
    frame = _with_derived(frame, shown, kind)
    labels = frame.groupby(_numbered(frame, shown))["label"]
    frame["n_labels_of_example"] = labels.transform("nunique", dropna=False)
    frame["in_corpus"] = [  # for a pair, both sides must be in the corpus
        all(not pd.isna(side) and kind.near_key(side) in corpus_keys for side in row)
        for row in frame[shown].itertuples(index=False)
    ]
    if "split" in frame and task.kind != "sts":
        frame["n_splits_of_group"] = frame.groupby("group")["split"].transform("nunique")
        frame = _with_split_keys(frame, task, kind)
    if task.kind == RETRIEVAL:
        frame = _with_answers(frame)
    if task.kind in CLASS_KINDS:
        learnt = frame.loc[frame["split"] == "train", "label"]
        frame["label_is_in_train"] = frame["label"].isin(learnt) | frame["label"].isna()
    if task.kind in {"regression", "sts"}:
        numbers = pd.to_numeric(frame["label"], errors="coerce")
        frame["label_is_finite"] = numbers.map(math.isfinite)
    else:
        frame["label_share"] = frame["label"].map(frame["label"].value_counts(normalize=True))
    return frame


def _with_split_keys(frame: pd.DataFrame, task: TaskParams, kind: Modality) -> pd.DataFrame:
    """Add the modality's split keys, unless the task declares every row its own group."""
    shown = frame[kind.column]
    keys = shown.dropna().map(kind.split_key).reindex(frame.index)
    if task.group == ALONE or keys.isna().all():
        return frame
    n_splits = frame.groupby(keys)["split"].transform("nunique")
    return frame.assign(**{SPLIT_KEY: keys, "n_splits_of_key": n_splits.fillna(1)})


def _with_answers(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the number of roles, and whether the corpus has an answer for each query."""
    roles = frame["role"]
    answers = frame.loc[roles == "corpus", "label"]
    return frame.assign(
        n_roles=roles[roles.isin(ROLES)].nunique(),
        has_answer=(roles != "query") | frame["label"].isin(answers) | frame["label"].isna(),
    )


def _always(column: str, value: object, because: str) -> Rule:
    kwargs = {"column": column, "value_set": [value]}
    return Rule("expect_column_values_to_be_in_set", kwargs, because)


def _corpus_rules(kind: Modality) -> list[Rule]:
    return [
        Rule("expect_column_to_exist", {"column": "group"}, "the groups are missing"),
        Rule("expect_column_values_to_not_be_null", {"column": "id"}, "an id is missing"),
        Rule("expect_column_values_to_be_unique", {"column": "id"}, "an id occurs twice"),
        Rule(
            "expect_column_values_to_not_be_null", {"column": kind.column}, "an example is missing"
        ),
        Rule("expect_column_values_to_not_be_null", {"column": "group"}, "a group is missing"),
        _always(
            "id_is_content", value=True, because="an id is not the hash of its example's content"
        ),
        _always("n_same_example", 1, "an example occurs twice"),
        *kind.corpus_rules(),
    ]


def _task_rules(task: TaskParams, kind: Modality, columns: Container[str]) -> list[Rule]:
    """Return the rules of a task whose table, with derived columns, has `columns`."""
    rules = [
        Rule("expect_column_values_to_not_be_null", {"column": "id"}, "an id is missing"),
        Rule("expect_column_values_to_be_unique", {"column": "id"}, "an id occurs twice"),
        Rule("expect_column_values_to_not_be_null", {"column": "label"}, "a label is missing"),
        *kind.task_rules(sides(task, kind)),
        _always("n_labels_of_example", 1, "the same input has contradictory labels"),
        _always("n_same_example", 1, "an example occurs twice"),
        _always("in_corpus", value=False, because="a benchmark example is in the corpus"),
    ]
    rules += [
        Rule("expect_column_values_to_not_be_null", {"column": side}, "an example is missing")
        for side in sides(task, kind)
    ]
    if task.label_range is not None:
        low, high = task.label_range
        limits = {"column": "label", "min_value": low, "max_value": high}
        because = f"a label is outside [{low:g}, {high:g}]"
        rules.append(Rule("expect_column_values_to_be_between", limits, because))
    if "n_splits_of_group" in columns:
        splits = {"column": "split", "value_set": ["train", "test"]}
        rules += [
            _always("n_splits_of_group", 1, "a group is in both splits"),
            Rule("expect_column_values_to_not_be_null", {"column": "split"}, "a split is missing"),
            Rule("expect_column_values_to_be_in_set", splits, "a split is neither train nor test"),
        ]
    if "n_splits_of_key" in columns:
        because = f"examples with the same {SPLIT_KEY} are in both splits"
        rules.append(_always("n_splits_of_key", 1, because))
    if task.kind == RETRIEVAL:
        roles = {"column": "role", "value_set": list(ROLES)}
        rules += [
            Rule("expect_column_values_to_not_be_null", {"column": "role"}, "a role is missing"),
            Rule("expect_column_values_to_be_in_set", roles, "a role is neither query nor corpus"),
            _always("n_roles", 2, "there are no query rows or no corpus rows"),
            _always("has_answer", value=True, because="a query has no corpus row with its label"),
        ]
    if task.kind in CLASS_KINDS:
        rules.append(
            _always(
                "label_is_in_train",
                value=True,
                because="a label does not occur in the training split",
            )
        )
    if task.kind in {"regression", "sts"}:
        return [
            *rules,
            _always("label_is_finite", value=True, because="a label is not a finite number"),
        ]
    balance = {"column": "label_share", "max_value": LARGEST_CLASS}
    return [
        *rules,
        Rule("expect_column_values_to_be_between", balance, "one class has nearly all rows"),
    ]


def _write(
    path: Path,
    results: Sequence[RuleResult],
    unavailable: Sequence[str],
    dropped: Mapping[str, Dropped],
) -> None:
    summary: dict[str, object] = {
        "success": all(result.success for result in results),
        "rules": [asdict(result) for result in results],
        "unavailable": list(unavailable),
    }
    if dropped:
        summary["dropped"] = {name: asdict(rows) for name, rows in dropped.items()}
    write_atomic(path, json.dumps(summary, indent=1, sort_keys=True) + "\n")


def _explain_all(
    failed: Sequence[RuleResult],
    tables: Mapping[str, tuple[pd.DataFrame, Sequence[Rule]]],
    kind: Modality,
) -> str:
    """Explain the first failures, as many as fit on a screen."""
    lines = [_explain(result, tables[result.table][0], kind) for result in failed[:SHOWN]]
    if more := len(failed) - SHOWN:
        lines += [f"... and {more} more in validation.json."] if more > 0 else []
    return "\n".join(lines)


def _explain(result: RuleResult, frame: pd.DataFrame, kind: Modality) -> str:
    """Name the failed rule and show three of the rows."""
    known = (*BESIDE_EXAMPLES, kind.column, f"{kind.column}1", f"{kind.column}2")
    head = (
        f"{result.table}: {result.because} ({result.type} on column {result.column!r}: "
        f"{result.count} of {len(frame)} rows)."
    )
    shown = []
    for label in result.rows[:EXAMPLES]:
        cells = {key: _short(value) for key, value in frame.loc[label].items() if key in known}
        cells |= {result.column: _short(frame.loc[label, result.column])}
        shown.append(f"    row {label}: " + ", ".join(f"{k}={v}" for k, v in cells.items()))
    return "\n".join([head, *shown])


def _short(value: object) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
