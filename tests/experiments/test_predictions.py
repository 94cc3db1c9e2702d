from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.predictions import compare_scores, compare_search, nearest, overlap, predictions
from experiments.predictions_page import PredictionsReport, markdown
from polydistill.config.overrides import changed
from polydistill.config.params import Params
from polydistill.data.corpora import open_corpus
from polydistill.data.modalities.text import TextModality
from polydistill.embeddings.store import open_embeddings
from polydistill.errors import DataError, MissingDataError, StoreError
from polydistill.export.predicted_embeddings import TeacherPredictor
from polydistill.project.layout import Layout
from polydistill.stages.distill import distill
from polydistill.students import encode, load_student
from polydistill.training.dataset import held_out_mask
from tests.distill_project import TEACHERS, make_distill_project, small_params

TASKS = {"noise": {"kind": "classification", "path": "data/noise.csv", "domain": "out"}}


def make_project(root: Path, loss: str) -> Params:
    make_distill_project(root, rows=400)
    draw = np.random.default_rng(0)
    texts = ["".join(map(chr, draw.integers(33, 64, size=40))) for _ in range(60)]
    pd.DataFrame(
        {
            "id": [f"noise-{row}" for row in range(60)],
            "text": texts,
            "label": ["a", "b"] * 30,
            "group": texts,
            "split": ["train", "train", "test"] * 20,
        }
    ).to_csv(root / "data" / "noise.csv", index=False)
    params = small_params(rows=400, loss={"name": loss})
    distill(root, params, "text")
    return changed(params, {"text.tasks": TASKS})


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PredictionsReport]:
    root = tmp_path_factory.mktemp("predictions")
    return root, predictions(root, make_project(root, "beta-nll"), "text")


def test_queries_are_held_out_rows(measured: tuple[Path, PredictionsReport]) -> None:
    root, report = measured
    distilled = json.loads(Layout(root, "text").distillation.read_text("utf-8"))

    assert report.n_queries == distilled["n_held_out"]
    assert report.n_indexed == distilled["n_train"]
    assert report.student_sha256 == distilled["student_sha256"]
    assert list(report.search) == list(TEACHERS)


def test_coverage_is_that_of_the_distillation(measured: tuple[Path, PredictionsReport]) -> None:
    root, report = measured
    distilled = json.loads(Layout(root, "text").distillation.read_text("utf-8"))

    assert {name: after for name, (_, after) in report.coverage.items()} == distilled["coverage_90"]


def test_the_inputs_of_every_task_are_compared_with_held_out_rows(
    measured: tuple[Path, PredictionsReport],
) -> None:
    root, report = measured
    layout = Layout(root, "text")
    predictor = TeacherPredictor(layout.heads, layout.student)
    texts = pd.read_csv(root / "data" / "noise.csv")["text"].tolist()
    scores = predictor.novelty(encode(load_student(layout.student), texts))

    assert report.threshold is not None
    assert report.out_of_distribution["noise"].n_inputs == 60
    assert report.out_of_distribution["noise"].flagged == pytest.approx(
        (scores > report.threshold).mean()
    )


def test_the_page_and_the_json_file_are_written(measured: tuple[Path, PredictionsReport]) -> None:
    root, report = measured
    folder = Layout(root, "text").results

    assert (folder / "predictions.md").read_text("utf-8") == markdown(report)
    assert "| noise | out | 60 |" in markdown(report)
    assert json.loads((folder / "predictions.json").read_text("utf-8"))["scale"] == "predicted"


def test_without_a_trained_scale_there_is_no_out_of_distribution_score(tmp_path: Path) -> None:
    report = predictions(tmp_path, make_project(tmp_path, "mse"), "text")

    assert (report.scale, report.threshold, report.out_of_distribution) == ("residual", None, {})
    assert "There is no score" in markdown(report)


def test_missing_or_inconsistent_inputs_are_errors(
    measured: tuple[Path, PredictionsReport], tmp_path: Path
) -> None:
    root, _ = measured
    layout = Layout(Path(shutil.copytree(root, tmp_path / "project")), "text")
    make_distill_project(tmp_path / "other")
    params = small_params(rows=400)

    with pytest.raises(MissingDataError, match="run the distill stage"):
        predictions(tmp_path / "other", params, "text")
    with pytest.raises(DataError, match="holds out 0 of the corpus' 400 rows"):
        predictions(layout.root, small_params(rows=400, corpus={"held_out": 0.0}), "text")
    with pytest.raises(
        DataError, match=r"was distilled with \d+ training .* run the distill stage"
    ):
        predictions(layout.root, small_params(rows=400, corpus={"held_out": 0.5}), "text")
    empty = changed(params, {"text.tasks": TASKS})
    noise = layout.root / "data" / "noise.csv"
    noise.write_text(noise.read_text().splitlines()[0] + "\n")
    with pytest.raises(DataError, match="Task 'noise' must have rows"):
        predictions(layout.root, empty, "text")
    shutil.rmtree(layout.student)
    shutil.copytree(layout.undistilled, layout.student)
    with pytest.raises(StoreError, match="must hold the student"):
        predictions(layout.root, params, "text")


def test_search_uses_held_out_queries_and_a_training_index(
    measured: tuple[Path, PredictionsReport],
) -> None:
    root, report = measured
    layout, params = Layout(root, "text"), small_params(rows=400)
    corpus = open_corpus(layout.corpus, params.modality("text").corpus, TextModality())
    unseen = held_out_mask(corpus.groups, params.modality("text").corpus.held_out)
    stored = open_embeddings(layout.embeddings("corpus", "first"))
    asked, indexed = (np.flatnonzero(side & stored.present) for side in (unseen, ~unseen))
    own = encode(load_student(layout.student), corpus.examples)
    predicted, _ = TeacherPredictor(layout.heads, layout.student).predict(own[asked], "first")

    expected = compare_search(
        (stored.take(indexed).values, stored.take(asked).values),
        (own[indexed], own[asked]),
        predicted,
    )

    assert report.search["first"] == expected


def test_nearest_returns_the_rows_with_the_highest_cosine() -> None:
    draw = np.random.default_rng(0)
    index, queries = (draw.normal(size=(rows, 5)).astype(np.float32) for rows in (300, 280))

    found = nearest(3 * index, queries, 4)

    cosines = (queries / np.linalg.norm(queries, axis=1)[:, None]) @ (
        index / np.linalg.norm(index, axis=1)[:, None]
    ).T
    wanted = np.argsort(-cosines, axis=1)[:, :4]
    assert [set(row) for row in found] == [set(row) for row in wanted]


def test_an_exact_prediction_finds_all_neighbours_of_the_teacher() -> None:
    draw = np.random.default_rng(0)
    index, queries = (draw.normal(size=(rows, 5)).astype(np.float32) for rows in (200, 30))
    blind = tuple(draw.normal(size=(rows, 3)).astype(np.float32) for rows in (200, 30))

    found = compare_search((index, queries), (blind[0], blind[1]), 7 * queries)

    assert (found.predicted, found.chance) == (1.0, 0.05)
    assert found.student < 0.15


def test_overlap_ignores_the_order_of_neighbours() -> None:
    wanted = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])

    assert overlap(wanted[:, ::-1], wanted) == 1
    assert overlap(np.array([[4, 3, 9, 10], [1, 2, 3, 4]]), wanted) == 0.25


def test_scores_are_compared_by_auroc_and_by_the_share_above_the_threshold() -> None:
    found = compare_scores(np.array([0.0, 1, 2, 3]), np.array([2.5, 4, 5, 6]), 3.0, "out")

    assert found.auroc == pytest.approx(15 / 16)
    assert found.flagged == pytest.approx(0.75)
