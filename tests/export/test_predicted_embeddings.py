from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.data.ids import pack_ids
from polydistill.embeddings.extraction import write_embeddings
from polydistill.embeddings.pca import corpus_basis
from polydistill.embeddings.store import open_embeddings
from polydistill.errors import DataError, MissingDataError, ParamsError, ShapeError, StoreError
from polydistill.export.predicted_embeddings import TeacherPredictor, predict_teacher
from polydistill.project.card import write_card
from polydistill.project.layout import Layout
from polydistill.stages.distill import distill
from polydistill.students import encode, load_student
from polydistill.teachers.hashing import HashingTeacher
from polydistill.training.dataset import group_mask, held_out_mask
from tests.distill_project import TEACHERS, make_distill_project, small_params

HALF_WIDTH = 1.6448536


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return two distilled projects: `likelihood`, and `mse` with squared errors."""
    root = tmp_path_factory.mktemp("prediction") / "likelihood"
    make_distill_project(root)
    shutil.copytree(root, root.with_name("mse"))
    for name, changes in (
        ("likelihood", {"heads": {"modes": 2}}),
        ("mse", {"loss": {"name": "mse"}}),
    ):
        params = small_params(**changes)
        distill(root.with_name(name), params, "text")
        tree = yaml.safe_dump(params.model_dump(mode="json"))
        (root.with_name(name) / "params.yaml").write_text(tree)
    return Layout(root, "text")


@pytest.fixture(scope="module")
def by_mse(project: Layout) -> Layout:
    return Layout(project.root.with_name("mse"), "text")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("red cat runs quickly\ndog\n\n", encoding="utf-8")
    return path


def held_out(layout: Layout) -> tuple[pd.DataFrame, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Return the corpus and the mask of its held-out rows."""
    corpus = pd.read_parquet(layout.root / "data/corpus.parquet")
    return corpus, held_out_mask(corpus["group"].tolist(), 0.2)


@pytest.mark.parametrize("teacher", TEACHERS)
@pytest.mark.parametrize("kind", ["likelihood", "mse"])
def test_the_coverage_of_intervals_is_that_of_the_report(
    project: Layout, kind: str, teacher: str
) -> None:
    layout = Layout(project.root.with_name(kind), "text")
    corpus, kept = held_out(layout)
    stored = open_embeddings(layout.embeddings("corpus", teacher)).take(np.arange(len(corpus)))
    rows = kept & ~group_mask(corpus["group"].tolist(), 0.5, "calibration") & stored.present
    predictor = TeacherPredictor(layout.heads, layout.student)
    embeddings = encode(load_student(layout.student), corpus["text"][rows].tolist())

    mean, std = predictor.predict(embeddings, teacher)

    inside = np.abs(stored.values[rows] - mean) <= HALF_WIDTH * std
    report = json.loads(layout.distillation.read_text())
    assert mean.shape == std.shape == (rows.sum(), TEACHERS[teacher])
    assert inside.mean() == pytest.approx(report["coverage_90"][teacher], abs=0.005)
    assert 0.8 < report["coverage_90"][teacher] < 0.97


def test_the_out_of_distribution_score_has_mean_zero_and_std_one_on_its_fitting_rows(
    project: Layout,
) -> None:
    corpus, kept = held_out(project)
    rows = kept & group_mask(corpus["group"].tolist(), 0.5, "calibration")
    embeddings = encode(load_student(project.student), corpus["text"][rows].tolist())

    novelty = TeacherPredictor(project.heads, project.student).novelty(embeddings)

    assert novelty.mean() == pytest.approx(0, abs=1e-4)
    assert novelty.std() == pytest.approx(1, abs=1e-4)


def test_without_a_trained_scale_all_rows_share_one_std_and_there_is_no_out_of_distribution_score(
    by_mse: Layout,
) -> None:
    predictor = TeacherPredictor(by_mse.heads, by_mse.student)
    embeddings = encode(load_student(by_mse.student), ["red cat", "dog", "…"])

    mean, std = predictor.predict(embeddings, "first")

    assert predictor.scale == "residual"
    assert (std == std[0]).all()
    assert len(np.unique(std[0])) > 1
    assert not (mean == mean[0]).all()
    with pytest.raises(ParamsError, match="gaussian-nll"):
        predictor.novelty(embeddings)


def test_no_examples_give_arrays_without_rows(project: Layout) -> None:
    predictor = TeacherPredictor(project.heads, project.student)

    mean, std = predictor.predict(np.empty((0, 8), np.float32), "second")

    assert mean.shape == std.shape == (0, 7)
    assert predictor.novelty(np.empty((0, 8), np.float32)).shape == (0,)


def test_embeddings_of_another_width_are_refused(project: Layout) -> None:
    predictor = TeacherPredictor(project.heads, project.student)

    with pytest.raises(ShapeError, match=r"\(n, 8\), got \(2, 9\)"):
        predictor.predict(np.zeros((2, 9), np.float32), "first")


def test_heads_of_another_student_are_refused(project: Layout, by_mse: Layout) -> None:
    with pytest.raises(StoreError, match="belongs to a student with weights"):
        TeacherPredictor(project.heads, by_mse.student)


def test_missing_heads_are_named(project: Layout, tmp_path: Path) -> None:
    shutil.copytree(project.student, tmp_path / "student")

    with pytest.raises(MissingDataError, match="run the distill stage"):
        predict_teacher(tmp_path, "first", ["a"], tmp_path / "out.npz")


def test_the_command_writes_mean_std_and_out_of_distribution_scores_without_pickle(
    project: Layout, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    outputs = [texts.with_name(f"{name}.npz") for name in ("one", "two")]

    results = [
        CliRunner().invoke(
            app, ["predict-teacher", "text", "first", str(texts), "-o", str(output), "--json"]
        )
        for output in outputs
    ]

    report = json.loads(results[0].output)
    with np.load(outputs[0], allow_pickle=False) as arrays:
        assert sorted(arrays) == ["mean", "novelty", "std"]
        assert arrays["mean"].shape == arrays["std"].shape == (3, 12)
        assert (arrays["std"] > 0).all()
        assert report["novelty"] == pytest.approx(np.median(arrays["novelty"]))
    assert report["rows"] == 3
    assert report["scale"] == "predicted"
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_the_command_takes_a_model_from_another_folder(
    project: Layout, by_mse: Layout, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    output = texts.with_name("out.npz")
    command = ["predict-teacher", "text", "first", str(texts), "-o", str(output), "--json"]

    result = CliRunner().invoke(app, [*command, "--model", str(by_mse.artifacts)])

    assert json.loads(result.output)["scale"] == "residual"
    with np.load(output) as arrays:
        assert sorted(arrays) == ["mean", "std"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [(("frist", "out.npz"), "Did you mean 'first'"), (("first", "out.npy"), "must end in .npz")],
)
def test_invalid_options_of_the_command_are_refused_and_nothing_is_written(
    project: Layout,
    texts: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: tuple[str, str],
    message: str,
) -> None:
    monkeypatch.chdir(project.root)
    teacher, output = asked[0], texts.with_name(asked[1])

    result = CliRunner().invoke(
        app, ["predict-teacher", "text", teacher, str(texts), "-o", str(output)]
    )

    assert result.exit_code == 2
    assert message in result.output
    assert not output.exists()


def test_a_missing_file_of_examples_is_named(
    project: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)

    result = CliRunner().invoke(
        app, ["predict-teacher", "text", "first", "nothing.txt", "-o", str(tmp_path / "out.npz")]
    )

    assert result.exit_code == 3
    assert "nothing.txt" in result.output


def test_a_teacher_without_calibration_is_refused_before_any_prediction(
    project: Layout, tmp_path: Path
) -> None:
    heads = tmp_path / "heads"
    shutil.copytree(project.heads, heads)
    card = json.loads((heads / "heads.json").read_text())
    name, *others = sorted(card["factors"])
    write_card(heads / "heads.json", {**card, "factors": {k: card["factors"][k] for k in others}})
    predictor = TeacherPredictor(heads, project.student)

    for refused in (
        lambda: predictor.require(name),
        lambda: predictor.predict(np.zeros((1, 8), np.float32), name),
    ):
        with pytest.raises(DataError, match=f"{name}.* has no held-out rows for calibration"):
            refused()
    for other in others:
        predictor.require(other)


def test_predictions_of_a_reduced_teacher_are_in_the_space_of_the_teacher(tmp_path: Path) -> None:
    layout, params = make_distill_project(tmp_path), small_params()
    corpus, kept = held_out(layout)
    source = HashingTeacher("first", 1, dim=TEACHERS["first"])
    texts = corpus["text"].tolist()
    final, work = layout.embeddings("corpus", "first"), layout.embedding_work("corpus", "first")
    ids = pack_ids(corpus["id"].tolist())
    basis = corpus_basis(final, work, ids, texts, source, 0.95)
    write_embeddings(final, work, ids, texts, source, basis=basis)
    distill(tmp_path, params, "text")
    predictor = TeacherPredictor(layout.heads, layout.student)
    student = encode(load_student(layout.student), texts)

    mean, std = predictor.predict(student, "first")

    own = source.embed(texts).values
    share = (np.abs(own - mean) <= HALF_WIDTH * std)[kept].mean(axis=0)
    assert basis.dim < source.dim
    assert mean.shape == std.shape == own.shape
    assert share.mean() == pytest.approx(0.9, abs=0.05)
    assert share.min() > 0.75
    np.testing.assert_allclose(basis.reduce(mean) @ basis.components, mean, atol=1e-4)
