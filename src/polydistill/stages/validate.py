"""The validate stage: checks the corpus and every task before other stages use them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from polydistill.config.params import Params
from polydistill.contracts import Modality, Rule
from polydistill.data.files import read_table
from polydistill.data.modalities import MODALITIES
from polydistill.data.rules import SPLIT_KEY, Checked, corpus_rules, task_rules
from polydistill.data.tables import (
    Dropped,
    available_tasks,
    complete_task,
    corpus_table,
    read_corpus,
)
from polydistill.errors import ValidationFailedError, short
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout

EXAMPLES = 3
SHOWN = 5
BESIDE_EXAMPLES = ("id", "label", "group", "split", "role", SPLIT_KEY)


@dataclass(frozen=True)
class RuleResult:
    """The result of one rule on one table.

    Attributes:
        table: The table's name.
        type: The expectation's type.
        column: The column that the rule checks; empty if there is none.
        success: Whether the table satisfies the rule.
        count: Number of rows that break it.
        because: A description of the problem if the rule fails.
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
        dropped: By table, the user's rows that are not used, with the reason; only for tables with such rows.
        labels: By task, how the labels are read: as classes, which are strings, or as numbers.
    """

    tables: int
    rules: int
    unavailable: tuple[str, ...]
    dropped: dict[str, Dropped]
    labels: dict[str, str]


def validate(root: Path, params: Params, modality: str, checker: RuleChecker) -> ValidationReport:
    """Check all tables, write `validation.json`, and stop the pipeline if a rule fails.

    Raises:
        ValidationFailedError: A rule fails; the message names table, expectation, column, count and three example rows.
        DataError: A file is missing, damaged, or lacks a column.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    kind = MODALITIES.get(modality)()
    path, all_dropped = block.corpus.path, dict[str, Dropped]()
    corpus = read_corpus(root, block.corpus, kind)
    tables = {"corpus": corpus_rules(corpus, path, kind)}
    # A later run may use more rows of the corpus, so no task may contain any row of the whole corpus.
    whole, all_dropped["corpus"] = corpus_table(
        read_table(root / path, block.corpus.encoding), block.corpus, kind
    )
    keys = set(whole[kind.column].dropna().map(kind.near_key))
    for name, task in available_tasks(root, block.tasks).items():
        frame, all_dropped[name] = complete_task(
            read_table(root / task.path, task.encoding), task, kind
        )
        tables[name] = task_rules(frame, task, kind, keys)
    results = checker.check(tables)
    failed = [result for result in results if not result.success]
    dropped = {name: rows for name, rows in all_dropped.items() if any(rows.values())}
    unavailable = tuple(name for name in block.tasks if name not in tables)
    summary: dict[str, object] = {
        "success": not failed,
        "rules": [asdict(result) for result in results],
        "unavailable": unavailable,
    }
    if dropped:
        summary["dropped"] = dropped
    write_atomic(layout.validation, json.dumps(summary, indent=1, sort_keys=True) + "\n")
    if failed:
        raise ValidationFailedError(_explain(failed, tables, kind))
    labels = {name: _labels_of(frame) for name, (frame, _) in tables.items() if name in block.tasks}
    return ValidationReport(len(tables), len(results), unavailable, dropped, labels)


def _labels_of(frame: pd.DataFrame) -> str:
    labels = frame["label"]
    if pd.api.types.is_numeric_dtype(labels):
        return f"numbers from {labels.min():g} to {labels.max():g}"
    classes = labels.unique()
    return f"{len(classes):,} classes, such as {', '.join(short(one, 30) for one in classes[:3])}"


def _explain(failed: Sequence[RuleResult], tables: Mapping[str, Checked], kind: Modality) -> str:
    """Name the first failed rules and show three rows of each, as many as fit on a screen."""
    shown = {*BESIDE_EXAMPLES, kind.column, f"{kind.column}1", f"{kind.column}2"}
    lines = []
    for result in failed[:SHOWN]:
        frame, _ = tables[result.table]
        lines.append(
            f"{result.table}: {result.because} ({result.type} on column {result.column!r}: "
            f"{result.count} of {len(frame)} rows)."
        )
        columns = [column for column in frame if column in shown | {result.column}]
        for row in result.rows[:EXAMPLES]:
            cells = (f"{column}={_cell(frame.loc[row, column])}" for column in columns)
            lines.append(f"    row {row}: {', '.join(cells)}")
    if len(failed) > SHOWN:
        lines.append(f"... and {len(failed) - SHOWN} more in validation.json.")
    return "\n".join(lines)


def _cell(value: object) -> str:
    return short(value.item() if isinstance(value, np.generic) else value, 60)
