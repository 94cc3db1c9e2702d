"""Compare the incoming corpus with the champion's: in the student's embedding space, and by columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from polydistill.config.operations import DriftParams
from polydistill.config.params import Params
from polydistill.contracts import Example, FloatArray, Modality, Student
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import read_corpus
from polydistill.errors import DataError, MissingDataError, ShapeError
from polydistill.evaluation.drift.columns import allowed_ranges, choose_columns, derive, means
from polydistill.evaluation.drift.mmd import mmd_test
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout
from polydistill.stages.validate import RuleChecker
from polydistill.students import encode
from polydistill.training.dataset import seeded

EMBEDDINGS, COLUMNS = "embeddings.safetensors", "columns.json"


@dataclass(frozen=True)
class Reference:
    """What is kept of a corpus to compare another with: no text, so that it may go wherever the student goes.

    Attributes:
        embeddings: `(n_rows, dim)`, the student's, of rows drawn at random.
        columns: The mean of each column, see `drift.columns`.
    """

    embeddings: FloatArray
    columns: dict[str, float]


@dataclass(frozen=True)
class Column:
    """How a column of the corpus has moved.

    Attributes:
        column: Its name, see `drift.columns`.
        champion: Its mean in the champion's corpus: of a measure, or a share in [0, 1].
        incoming: In the incoming one.
        low: Least mean that is no drift.
        high: Greatest.
        drifted: Whether the checker says that it has left this range.
    """

    column: str
    champion: float
    incoming: float
    low: float
    high: float
    drifted: bool


@dataclass(frozen=True)
class DriftReport:
    """How the incoming corpus compares with the champion's.

    Attributes:
        champion: The champion's version.
        drifted: What has drifted: `embeddings`, or columns; empty if nothing has.
        mmd2: The unbiased squared mean discrepancy of the embeddings.
        p: Of the permutation test, in (0, 1].
        level: The greatest p that is drift.
        rows: Rows drawn from the champion's and the incoming corpus.
        columns: Each column.
    """

    champion: int
    drifted: tuple[str, ...]
    mmd2: float
    p: float
    level: float
    rows: tuple[int, int]
    columns: tuple[Column, ...]


def make_reference(root: Path, params: Params, modality: str, student: Student) -> Reference:
    """Return what is kept of the project's corpus beside a student that was distilled from it.

    Raises:
        DataError: The corpus cannot be read.
    """
    block, kind = params.modality(modality), MODALITIES.get(modality)()
    corpus = read_corpus(root, block.corpus, kind, with_groups=False)
    rows = block.retrain.drift.rows
    examples = draw(corpus, kind, rows, params.seed, "drift: reference")
    table = derive(corpus, kind, choose_columns(corpus, kind))
    return Reference(encode(student, examples), means(table))


def save_reference(reference: Reference, folder: Path) -> None:
    """Write a reference into an existing folder; the same reference writes the same bytes."""
    save_file({"embeddings": np.ascontiguousarray(reference.embeddings)}, folder / EMBEDDINGS)
    text = json.dumps(reference.columns, indent=1) + "\n"
    (folder / COLUMNS).write_text(text, encoding="utf-8")


def load_reference(folder: Path) -> Reference:
    """Read what `save_reference` wrote.

    Raises:
        MissingDataError: It is not there.
    """
    for file in (folder / EMBEDDINGS, folder / COLUMNS):
        if not file.exists():
            raise MissingDataError(f"No file {file}: this version has no reference for drift.")
    columns = json.loads((folder / COLUMNS).read_text(encoding="utf-8"))
    return Reference(load_file(folder / EMBEDDINGS)["embeddings"], columns)


def drift(  # noqa: PLR0913 - two corpora, each with what belongs to it
    root: Path,
    params: Params,
    modality: str,
    reference: Reference,
    student: Student,
    checker: RuleChecker,
    *,
    champion: int,
) -> DriftReport:
    """Compare the project's corpus with a champion's reference, and write `drift.json`.

    Args:
        root: The project folder.
        params: Of the project.
        modality: A block of `params.yaml`.
        reference: The champion's.
        student: The champion itself: both samples must lie in its space.
        checker: Of the columns' rules.
        champion: Its version.

    Raises:
        DataError: The corpus cannot be read.
        ShapeError: `student` is not the one that the reference was made with.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    kind, policy = MODALITIES.get(modality)(), block.retrain.drift
    if student.dim != reference.embeddings.shape[1]:
        raise ShapeError(
            f"The reference must have width {student.dim}, got {reference.embeddings.shape[1]}."
        )
    corpus = read_corpus(root, block.corpus, kind, with_groups=False)
    examples = draw(corpus, kind, policy.rows, params.seed, "drift: incoming")
    test = mmd_test(
        reference.embeddings,
        encode(student, examples),
        permutations=policy.permutations,
        generator=seeded(params.seed, "drift: labels"),
    )
    columns = _compare_columns(corpus, kind, reference, policy, checker)
    found = ["embeddings"] if test.p <= policy.level else []
    found += [column.column for column in columns if column.drifted]
    report = DriftReport(
        champion=champion,
        drifted=tuple(found),
        mmd2=test.mmd2,
        p=test.p,
        level=policy.level,
        rows=(len(reference.embeddings), len(examples)),
        columns=columns,
    )
    _write(layout.drift, report)
    return report


def draw(
    corpus: pd.DataFrame, kind: Modality, rows: int, seed: int, purpose: str
) -> Sequence[Example]:
    """Return `rows` readable examples, or all if there are fewer, drawn by a seed and a purpose.

    The two sides of a comparison have purposes of their own: drawn alike, they would be the same rows where
    nothing has changed, and no longer two samples.
    """
    places = seeded(seed, purpose).permutation(len(corpus))
    drawn = corpus[kind.column].iloc[places].dropna()
    return list(islice(_readable(kind, drawn), rows))


def _readable(kind: Modality, values: Iterable[object]) -> Iterator[Example]:
    """Leave out what the modality refuses: validation counts such rows, and stops at them."""
    for value in values:
        with suppress(DataError):
            yield kind.coerce(value)


def _compare_columns(
    corpus: pd.DataFrame,
    kind: Modality,
    reference: Reference,
    policy: DriftParams,
    checker: RuleChecker,
) -> tuple[Column, ...]:
    table = derive(corpus, kind, list(reference.columns))
    incoming = means(table)
    ranges = allowed_ranges(reference.columns, tolerance=policy.tolerance)
    results = checker.check({"corpus": (table, [one.rule for one in ranges])})
    return tuple(
        Column(
            one.column,
            one.champion,
            incoming[one.column],
            one.low,
            one.high,
            drifted=not result.success,
        )
        for one, result in zip(ranges, results, strict=True)
    )


def _write(path: Path, report: DriftReport) -> None:
    write_atomic(path, json.dumps(asdict(report), indent=1, sort_keys=True) + "\n")
