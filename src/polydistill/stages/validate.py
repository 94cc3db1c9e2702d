"""The validate stage: checks the corpus and every task, and writes the canonical corpus for the other stages."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from polydistill.config.params import Params
from polydistill.contracts import Rule
from polydistill.data.files import read_table
from polydistill.data.modalities import MODALITIES
from polydistill.data.preparation import prepare_corpus
from polydistill.data.rules import (
    SHOWN_COLUMNS,
    SPLIT_KEY,
    Checked,
    TaskKeys,
    corpus_rules,
    task_rules,
)
from polydistill.data.tables import Dropped, available_tasks, complete_task
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
        shown: These rows, as texts for a message.
        n_rows: Number of rows of the table.
    """

    table: str
    type: str
    column: str
    success: bool
    count: int
    because: str
    rows: tuple[int, ...] = ()
    shown: tuple[str, ...] = ()
    n_rows: int = 0


Part = tuple[str, Checked]
"""The name of a table and a part of its rows, with the rules. All parts of a table have the same rules."""


class RuleChecker(Protocol):
    """Checks rules about tables; `integrations` implements it with Great Expectations."""

    def check(self, parts: Iterable[Part]) -> list[list[RuleResult]]:
        """Return the results of each part, one per rule, in order; see `result_of`."""


def result_of(
    table: str, frame: pd.DataFrame, rule: Rule, *, success: bool, count: int, rows: Sequence[int]
) -> RuleResult:
    """Return the result of a rule on a part of a table, with the first of the broken rows."""
    column, first = str(rule.kwargs.get("column", "")), tuple(int(row) for row in rows[:EXAMPLES])
    shown = tuple(_described(frame, row, column) for row in first)
    return RuleResult(
        table, rule.type, column, success, count, rule.because, first, shown, len(frame)
    )


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
    """Check all tables, write the canonical corpus and `validation.json`, and stop the pipeline if a rule fails.

    Raises:
        ValidationFailedError: A rule fails; the message names table, expectation, column, count and three example rows.
        DataError: A file is missing, damaged, or lacks a column.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    kind = MODALITIES.get(modality)()
    tasks = available_tasks(root, block.tasks)
    frames, all_dropped, labels = {}, dict[str, Dropped](), {}
    for name, task in tasks.items():
        table = read_table(root / task.path, task.encoding)
        frames[name], all_dropped[name] = complete_task(table, task, kind)
    # A later run may use more rows of the corpus, so no task may contain any row of the whole corpus.
    keys = TaskKeys(frames, block.tasks, kind)
    work = layout.work("validate", modality)
    with prepare_corpus(root, block.corpus, kind, work, keys.search) as corpus:
        all_dropped["corpus"] = corpus.dropped

        def parts() -> Iterator[Part]:
            for frame in corpus.frames(kind.column):
                yield "corpus", corpus_rules(frame, block.corpus.path, kind)
            for name, frame in frames.items():
                yield name, task_rules(frame, tasks[name], kind, keys.found)
                labels[name] = _labels_of(frame)

        results = _joined(checker.check(parts()))
        failed = [result for result in results if not result.success]
        if not failed:
            corpus.publish(layout.corpus, block.corpus)
    dropped = {name: rows for name, rows in all_dropped.items() if any(rows.values())}
    unavailable = tuple(name for name in block.tasks if name not in tasks)
    summary: dict[str, object] = {
        "success": not failed,
        "rules": [_without_examples(result) for result in results],
        "unavailable": unavailable,
    }
    if dropped:
        summary["dropped"] = dropped
    write_atomic(layout.validation, json.dumps(summary, indent=1, sort_keys=True) + "\n")
    if failed:
        raise ValidationFailedError(_explain(failed))
    return ValidationReport(1 + len(tasks), len(results), unavailable, dropped, labels)


def _joined(results: Iterable[Sequence[RuleResult]]) -> list[RuleResult]:
    """Join the results of the parts of each table."""
    by_table: dict[str, list[Sequence[RuleResult]]] = {}
    for part in results:
        by_table.setdefault(part[0].table, []).append(part)
    return [_join(rule) for parts in by_table.values() for rule in zip(*parts, strict=True)]


def _join(parts: Sequence[RuleResult]) -> RuleResult:
    return replace(
        parts[0],
        success=all(part.success for part in parts),
        count=sum(part.count for part in parts),
        rows=tuple(chain.from_iterable(part.rows for part in parts))[:EXAMPLES],
        shown=tuple(chain.from_iterable(part.shown for part in parts))[:EXAMPLES],
        n_rows=sum(part.n_rows for part in parts),
    )


def _without_examples(result: RuleResult) -> dict[str, object]:
    return {k: v for k, v in asdict(result).items() if k not in {"shown", "n_rows"}}


def _labels_of(frame: pd.DataFrame) -> str:
    labels = frame["label"]
    if pd.api.types.is_numeric_dtype(labels):
        return f"numbers from {labels.min():g} to {labels.max():g}"
    classes = labels.dropna().unique()
    return f"{len(classes):,} classes, such as {', '.join(short(one, 30) for one in classes[:3])}"


def _explain(failed: Sequence[RuleResult]) -> str:
    """Name the first failed rules and show three rows of each, as many as fit on a screen."""
    lines = []
    for result in failed[:SHOWN]:
        lines.append(
            f"{result.table}: {result.because} ({result.type} on column {result.column!r}: "
            f"{result.count} of {result.n_rows} rows)."
        )
        lines += [f"    {row}" for row in result.shown]
    if len(failed) > SHOWN:
        lines.append(f"... and {len(failed) - SHOWN} more in validation.json.")
    return "\n".join(lines)


def _described(frame: pd.DataFrame, row: int, column: str) -> str:
    """Return a row as text: its ids, labels and splits, its examples, and the column of a rule."""
    wanted = {*BESIDE_EXAMPLES, *frame.attrs.get(SHOWN_COLUMNS, ()), column}
    cells = (f"{name}={_cell(frame[name][row])}" for name in map(str, frame) if name in wanted)
    return f"row {row}: {', '.join(cells)}"


def _cell(value: object) -> str:
    return short(value.item() if isinstance(value, np.generic) else value, 60)
