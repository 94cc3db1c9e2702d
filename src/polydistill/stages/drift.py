"""Drift: compares the incoming corpus with the champion's by student embeddings and by columns."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from polydistill.config.params import Params
from polydistill.contracts import Example, FloatArray, Modality, Student
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import corpus_share
from polydistill.errors import DataError, MissingDataError
from polydistill.evaluation import drift
from polydistill.project.card import damaged
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout
from polydistill.stages.validate import RuleChecker
from polydistill.students import encode
from polydistill.training.dataset import seeded

EMBEDDINGS, COLUMNS = "embeddings.safetensors", "columns.json"
MOST_ROWS = 200_000
"""The number of rows above which a share of a corpus is read, to limit memory."""


@dataclass(frozen=True)
class Reference:
    """A summary of a corpus, for comparison with other corpora. It holds no text, so it can ship with the student.

    Attributes:
        embeddings: The student's embeddings of randomly drawn rows, `(n_rows, dim)`.
        columns: The mean of each column; see `evaluation.drift`.
    """

    embeddings: FloatArray
    columns: dict[str, float]


@dataclass(frozen=True)
class Column(drift.ColumnRange):
    """A column of the incoming corpus and its allowed range.

    Attributes:
        incoming: The column's mean in the incoming corpus.
        drifted: Whether the mean is outside the range.
    """

    incoming: float
    drifted: bool


@dataclass(frozen=True)
class DriftReport:
    """The comparison of the incoming corpus with the champion's.

    Attributes:
        champion: The champion's version.
        drifted: `embeddings` if the embeddings have drifted, and the names of the columns that have drifted.
        mmd2: The unbiased squared maximum mean discrepancy of the embeddings.
        p: The p-value of the permutation test, in (0, 1].
        level: The highest p-value that counts as drift.
        rows: Numbers of rows drawn from the champion's and the incoming corpus.
        columns: The comparison of each column.
    """

    champion: int
    drifted: tuple[str, ...]
    mmd2: float
    p: float
    level: float
    rows: tuple[int, int]
    columns: tuple[Column, ...]


def make_reference(root: Path, params: Params, modality: str, student: Student) -> Reference:
    """Return the reference of the project's corpus for a student that was distilled from it.

    Raises:
        DataError: The corpus cannot be read.
    """
    block, kind = params.modality(modality), MODALITIES.get(modality)()
    corpus = corpus_share(root, block.corpus, kind, MOST_ROWS)
    rows = block.retrain.drift.rows
    examples = draw(corpus, kind, rows, params.seed, "drift: reference")
    table = drift.derive(corpus, kind, drift.choose_columns(corpus, kind))
    return Reference(encode(student, examples), drift.means(table))


def save_reference(reference: Reference, folder: Path) -> None:
    """Write a reference into an existing folder; the same reference produces the same bytes."""
    arrays = {"embeddings": np.ascontiguousarray(reference.embeddings)}
    write_atomic(folder / EMBEDDINGS, save(arrays))
    text = json.dumps(reference.columns, indent=1) + "\n"
    (folder / COLUMNS).write_text(text, encoding="utf-8")


def load_reference(folder: Path) -> Reference:
    """Read a reference that `save_reference` wrote.

    Raises:
        MissingDataError: The folder holds no reference.
        DataError: A file is damaged.
    """
    for file in (folder / EMBEDDINGS, folder / COLUMNS):
        if not file.exists():
            raise MissingDataError(f"No file {file}: this version has no reference for drift.")
    try:
        columns = json.loads((folder / COLUMNS).read_text(encoding="utf-8"))
        return Reference(load_file(folder / EMBEDDINGS)["embeddings"], columns)
    except (OSError, ValueError, LookupError, SafetensorError) as error:
        raise damaged(folder, error, "publish the student again") from error


def measure_drift(  # noqa: PLR0913 - two corpora with their settings
    root: Path,
    params: Params,
    modality: str,
    reference: Reference,
    student: Student,
    checker: RuleChecker,
    *,
    champion: int,
) -> DriftReport:
    """Compare the project's corpus with a champion's reference and write `drift.json`.

    Args:
        root: The project folder.
        params: The project's parameters.
        modality: A block of `params.yaml`.
        reference: The champion's reference.
        student: The champion, which embeds the incoming corpus.
        checker: The checker of the column rules.
        champion: The champion's version.

    Raises:
        DataError: The corpus cannot be read.
        ShapeError: The reference was made with a student of another width.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    kind, policy = MODALITIES.get(modality)(), block.retrain.drift
    corpus = corpus_share(root, block.corpus, kind, MOST_ROWS)
    examples = draw(corpus, kind, policy.rows, params.seed, "drift: incoming")
    test = drift.mmd_test(
        reference.embeddings,
        encode(student, examples),
        permutations=policy.permutations,
        generator=seeded(params.seed, "drift: labels"),
    )
    table = drift.derive(corpus, kind, list(reference.columns))
    incoming = drift.means(table)
    ranges = drift.allowed_ranges(reference.columns, tolerance=policy.tolerance)
    results = checker.check([("corpus", (table, [one.rule for one in ranges]))])[0]
    columns = tuple(
        Column(**vars(one), incoming=incoming[one.column], drifted=not result.success)
        for one, result in zip(ranges, results, strict=True)
    )
    found = ["embeddings"] if test.p <= policy.level else []
    report = DriftReport(
        champion=champion,
        drifted=(*found, *(column.column for column in columns if column.drifted)),
        mmd2=test.mmd2,
        p=test.p,
        level=policy.level,
        rows=(len(reference.embeddings), len(examples)),
        columns=columns,
    )
    write_atomic(layout.drift, json.dumps(asdict(report), indent=1, sort_keys=True) + "\n")
    return report


def draw(
    corpus: pd.DataFrame, kind: Modality, rows: int, seed: int, purpose: str
) -> Sequence[Example]:
    """Return `rows` readable examples, or all if there are fewer, drawn at random, seeded by `seed` and `purpose`.

    The two corpora of a comparison use different purposes. With the same purpose an unchanged corpus would give the
    same rows twice instead of two independent samples.
    """
    order = seeded(seed, purpose).permutation(len(corpus))
    drawn: list[Example] = []
    for value in corpus[kind.column].iloc[order].dropna():
        if len(drawn) == rows:
            break
        with suppress(DataError):  # validation reports the examples that cannot be read
            drawn.append(kind.coerce(value))
    return drawn
