"""Check the corpus and every task before anything is computed from them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from polydistill.contracts import Modality, Rule
from polydistill.errors import ValidationFailedError
from polydistill.layout import Layout
from polydistill.modalities import MODALITIES
from polydistill.params import Params, TaskParams
from polydistill.tables import read_corpus, read_tasks

EXAMPLES = 3
LARGEST_CLASS = 0.8


@dataclass(frozen=True)
class RuleResult:
    """What one rule said of one table.

    Attributes:
        table: The table's name.
        type: The expectation's type.
        column: The column it looks at; empty if none.
        success: Whether it holds.
        count: Rows that break it.
        because: What is wrong when it fails.
    """

    table: str
    type: str
    column: str
    success: bool
    count: int
    because: str


class RuleChecker(Protocol):
    """Checks rules about tables: Great Expectations, behind `integrations`."""

    def check(self, tables: Mapping[str, tuple[pd.DataFrame, Sequence[Rule]]]) -> list[RuleResult]:
        """Return one result a rule, in order."""


@dataclass(frozen=True)
class ValidationReport:
    """What was checked.

    Attributes:
        tables: Number of tables.
        rules: Number of rules, all of which hold.
        unavailable: Third-party tasks that are not there.
    """

    tables: int
    rules: int
    unavailable: tuple[str, ...]


def validate(root: Path, params: Params, modality: str, checker: RuleChecker) -> ValidationReport:
    """Check everything, write `validation.json`, and stop the pipeline if a rule fails.

    Raises:
        ValidationFailedError: Names table, expectation, column, count and three example rows.
        DataError: A file is missing, damaged, or lacks a column.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    kind = MODALITIES.get(modality)()
    corpus = read_corpus(root, block.corpus, kind)
    tasks = read_tasks(root, block.tasks, kind)
    keys = set(corpus[kind.column].dropna().map(kind.near_key))
    tables: dict[str, tuple[pd.DataFrame, Sequence[Rule]]] = {
        "corpus": (_with_derived(corpus, [kind.column]), _corpus_rules(kind))
    }
    for name, frame in tasks.items():
        task = block.tasks[name]
        tables[name] = (_task_frame(frame, task, kind, keys), _task_rules(task, kind))
    results = checker.check(tables)
    failed = [result for result in results if not result.success]
    unavailable = tuple(name for name in block.tasks if name not in tasks)
    _write(layout.validation, results, unavailable)
    if failed:
        raise ValidationFailedError("\n".join(_explain(r, tables[r.table][0]) for r in failed))
    return ValidationReport(len(tables), len(results), unavailable)


def _with_derived(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Add the columns that rules need and a table does not have."""
    frame = frame.copy()
    shown = frame[list(columns)].fillna("").astype(str).agg(" ".join, axis=1)
    printable = shown.map(lambda text: sum(map(str.isprintable, text)) - text.count("\ufffd"))
    frame["printable_ratio"] = printable / shown.str.len().clip(lower=1)
    frame["n_same_example"] = shown.map(shown.value_counts())
    return frame


def _task_frame(
    frame: pd.DataFrame, task: TaskParams, kind: Modality, corpus_keys: set[str]
) -> pd.DataFrame:
    sides = [f"{kind.column}1", f"{kind.column}2"] if task.kind == "sts" else [kind.column]
    frame = _with_derived(frame, sides)
    shown = frame[sides].fillna("").agg("\n".join, axis=1)
    frame["n_labels_of_example"] = frame.groupby(shown)["label"].transform("nunique")
    if task.kind != "sts":
        frame["in_corpus"] = frame[kind.column].fillna("").map(kind.near_key).isin(corpus_keys)
        frame["n_splits_of_group"] = frame.groupby("group")["split"].transform("nunique")
    if task.kind in {"regression", "sts"}:
        numbers = pd.to_numeric(frame["label"], errors="coerce")
        frame["label_is_finite"] = numbers.map(math.isfinite)
    else:
        frame["label_share"] = frame["label"].map(frame["label"].value_counts(normalize=True))
    return frame


def _always(column: str, value: object, because: str) -> Rule:
    kwargs = {"column": column, "value_set": [value]}
    return Rule("expect_column_values_to_be_in_set", kwargs, because)


def _corpus_rules(kind: Modality) -> list[Rule]:
    return [
        Rule("expect_column_to_exist", {"column": "group"}, "the groups are missing"),
        Rule("expect_column_values_to_not_be_null", {"column": "id"}, "an id is missing"),
        Rule("expect_column_values_to_be_unique", {"column": "id"}, "an id stands twice"),
        Rule(
            "expect_column_values_to_not_be_null", {"column": kind.column}, "an example is missing"
        ),
        Rule("expect_column_values_to_not_be_null", {"column": "group"}, "a group is missing"),
        _always("n_same_example", 1, "an example stands twice"),
        *kind.corpus_rules(),
    ]


def _task_rules(task: TaskParams, kind: Modality) -> list[Rule]:
    rules = [
        Rule("expect_column_values_to_not_be_null", {"column": "id"}, "an id is missing"),
        Rule("expect_column_values_to_be_unique", {"column": "id"}, "an id stands twice"),
        Rule("expect_column_values_to_not_be_null", {"column": "label"}, "a label is missing"),
        Rule(
            "expect_column_values_to_be_between",
            {"column": "printable_ratio", "min_value": 0.9},
            "an example is less than 90 % printable characters, or not valid UTF-8",
        ),
        _always("n_labels_of_example", 1, "the same input has contradictory labels"),
    ]
    if task.kind != "sts":
        rules += [
            Rule(
                "expect_column_values_to_not_be_null",
                {"column": kind.column},
                "an example is missing",
            ),
            _always("in_corpus", value=False, because="a benchmark example is in the corpus"),
            _always("n_splits_of_group", 1, "a group straddles the splits"),
            Rule(
                "expect_column_values_to_be_in_set",
                {"column": "split", "value_set": ["train", "test"]},
                "a split is neither train nor test",
            ),
        ]
    if task.kind in {"regression", "sts"}:
        return [
            *rules,
            _always("label_is_finite", value=True, because="a label is not a finite number"),
        ]
    balance = {"column": "label_share", "max_value": LARGEST_CLASS}
    return [
        *rules,
        Rule("expect_column_values_to_be_between", balance, "one class is nearly everything"),
    ]


def _write(path: Path, results: Sequence[RuleResult], unavailable: Sequence[str]) -> None:
    summary = {
        "success": all(result.success for result in results),
        "rules": [asdict(result) for result in results],
        "unavailable": list(unavailable),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, path)


def _explain(result: RuleResult, frame: pd.DataFrame) -> str:
    """Name what failed, and show three of the rows."""
    head = (
        f"{result.table}: {result.because} ({result.type} on column {result.column!r}: "
        f"{result.count} of {len(frame)} rows)."
    )
    if result.column not in frame:
        return head
    rows = _suspects(result, frame).head(EXAMPLES)
    shown = [f"    row {index}: {str(row)[:160]}" for index, row in rows.iterrows()]
    return "\n".join([head, *(line.replace("\n", " · ") for line in shown)])


def _suspects(result: RuleResult, frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows that probably break the rule, the clearest cases first."""
    column = frame[result.column]
    if "null" in result.type:
        return frame[column.isna()]
    if "unique" in result.type:
        return frame[column.duplicated(keep=False)].sort_values(result.column)
    if column.dtype == bool:
        return frame.sort_values(result.column, ascending=not result.column.startswith("in_"))[
            ["id", result.column]
        ]
    numeric = pd.api.types.is_numeric_dtype(column)
    order = column if numeric else column.astype(str).str.len()
    ascending = result.column in {"printable_ratio"} or not numeric
    return frame.loc[order.sort_values(ascending=ascending).index]
