from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from polydistill.config.overrides import changed
from polydistill.config.params import Params
from polydistill.contracts import Rule
from polydistill.data.modalities.text import TextModality
from polydistill.data.tables import corpus_share
from polydistill.errors import DataError, MissingDataError, ShapeError
from polydistill.project.layout import Layout
from polydistill.stages import drift
from polydistill.stages.drift import (
    DriftReport,
    Reference,
    load_reference,
    make_reference,
    measure_drift,
    save_reference,
)
from polydistill.stages.validate import Part, RuleResult, result_of
from polydistill.students.bag_of_bytes import BagOfBytesStudent
from tests.distill_project import make_distill_project, small_params

ROWS = 240


class MeansChecker:
    """A `stages.validate.RuleChecker` that implements the one expectation that drift uses."""

    def check(self, parts: Iterable[Part]) -> list[list[RuleResult]]:
        return [
            [
                result_of(name, frame, rule, success=_holds(frame, rule), count=0, rows=[])
                for rule in rules
            ]
            for name, (frame, rules) in parts
        ]


def _holds(frame: pd.DataFrame, rule: Rule) -> bool:
    low, high = rule.kwargs["min_value"], rule.kwargs["max_value"]
    assert isinstance(low, float)
    assert isinstance(high, float)
    return low <= float(frame[str(rule.kwargs["column"])].mean()) <= high


@pytest.fixture
def params() -> Params:
    return small_params(retrain={"drift": {"rows": 100, "permutations": 199, "tolerance": 0.1}})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_distill_project(tmp_path, ROWS).root


@pytest.fixture
def student() -> BagOfBytesStudent:
    return BagOfBytesStudent.build([], torch.Generator().manual_seed(0), dim=8)


def compare(
    root: Path, params: Params, reference: Reference, student: BagOfBytesStudent
) -> DriftReport:
    return measure_drift(root, params, "text", reference, student, MeansChecker(), champion=3)


def rewrite(root: Path, **columns: object) -> None:
    path = root / "data" / "corpus.parquet"
    pd.read_parquet(path).assign(**columns).to_parquet(path)  # type: ignore[arg-type]


def test_another_sample_of_the_same_corpus_has_not_drifted(
    project: Path, params: Params, student: BagOfBytesStudent
) -> None:
    reference = make_reference(project, params, "text", student)

    report = compare(project, params, reference, student)

    assert report.drifted == ()
    assert report.p > 0.01
    assert report.rows == (100, 100)
    assert json.loads(Layout(project, "text").drift.read_text())["p"] == report.p


def test_a_share_of_a_large_corpus_represents_it(
    project: Path, params: Params, student: BagOfBytesStudent, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project / "data/corpus.parquet"
    rows = pd.read_parquet(file)
    pd.concat([rows, rows[:60]]).to_parquet(file)  # a fifth of the rows is repeated
    whole = changed(params, {"text.corpus.rows": 300})
    all_rows = make_reference(project, whole, "text", student)
    monkeypatch.setattr(drift, "MOST_ROWS", 120)

    share = make_reference(project, whole, "text", student)

    read = corpus_share(project, whole.modality("text").corpus, TextModality(), 120)
    assert 60 < len(read) < 140
    assert len(share.embeddings) < len(all_rows.embeddings) + 1
    assert share.columns["is_repeated"] == pytest.approx(all_rows.columns["is_repeated"], abs=0.1)
    assert share.columns["is_repeated"] > 0.1
    assert share.columns["n_characters"] == pytest.approx(all_rows.columns["n_characters"], rel=0.1)
    report = measure_drift(project, whole, "text", all_rows, student, MeansChecker(), champion=1)
    assert report.drifted == ()


def test_texts_of_another_source_have_drifted(
    project: Path, params: Params, student: BagOfBytesStudent
) -> None:
    reference = make_reference(project, params, "text", student)
    rewrite(project, text=[f"{row} ZEITUNG {row}" for row in range(ROWS)], source="news")

    report = compare(project, params, reference, student)

    assert report.p == 1 / 200
    assert report.mmd2 > 0
    assert {"embeddings", "n_characters", "source=made", "is_new_source"} <= set(report.drifted)
    assert "is_empty" not in report.drifted


def test_a_comparison_is_reproducible(
    project: Path, params: Params, student: BagOfBytesStudent
) -> None:
    reference = make_reference(project, params, "text", student)

    reports = [compare(project, params, reference, student) for _ in range(2)]

    assert reports[0] == reports[1]


def test_a_reference_is_read_back_unchanged_and_contains_no_text(
    project: Path, params: Params, student: BagOfBytesStudent, tmp_path: Path
) -> None:
    reference = make_reference(project, params, "text", student)
    folder = tmp_path / "reference"
    folder.mkdir()

    save_reference(reference, folder)
    back = load_reference(folder)

    assert np.array_equal(back.embeddings, reference.embeddings)
    assert back.columns == reference.columns
    text = pd.read_parquet(project / "data" / "corpus.parquet")["text"].iloc[0]
    assert not any(text.encode() in file.read_bytes() for file in folder.iterdir())


def test_a_student_of_another_width_is_refused(
    project: Path, params: Params, student: BagOfBytesStudent
) -> None:
    reference = Reference(np.zeros((5, 3), dtype=np.float32), {})

    with pytest.raises(ShapeError, match="width 8, as `incoming`, got 3"):
        compare(project, params, reference, student)


def test_a_missing_reference_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no reference for drift"):
        load_reference(tmp_path)


@pytest.mark.parametrize("file", ["columns.json", "embeddings.safetensors"])
@pytest.mark.parametrize("content", [b"", b"[[1", b"\x80\xff" * 20])
def test_a_damaged_reference_is_an_error(tmp_path: Path, file: str, content: bytes) -> None:
    save_reference(Reference(np.zeros((5, 3), dtype=np.float32), {}), tmp_path)
    (tmp_path / file).write_bytes(content)

    with pytest.raises(DataError, match="is damaged.*Publish the student again"):
        load_reference(tmp_path)
