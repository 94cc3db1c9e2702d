from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.config.nodes import Plugin
from polydistill.contracts import FloatArray
from polydistill.errors import (
    DataError,
    MissingDataError,
    ParamsError,
    StoreError,
    UnknownNameError,
)
from polydistill.export.bundle import load_export
from polydistill.export.kinds import EXPORTS
from polydistill.export.kinds.predicted_consensus import PredictedConsensus
from polydistill.export.kinds.whitened import Whitened
from polydistill.integrations.mlflow.bundle import load_model
from polydistill.project.layout import Layout
from polydistill.report.facts import collect
from polydistill.report.page import write_report
from polydistill.stages.distill import distill
from polydistill.stages.exports import export_student
from polydistill.students import encode, load_student, weights_digest
from polydistill.training.calibration import predicted_moments
from polydistill.training.heads_bundle import load_heads
from tests.distill_project import TEACHERS, make_distill_project, small_params
from tests.report.example_run import example_params, write_predicted_run

TEXTS = ["red cat runs quickly", "dog", "blue fish eats never 7", "", "green cat"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = make_distill_project(tmp_path_factory.mktemp("exports"))
    params = small_params(heads={"name": "batch-norm-mlp", "hidden": 16})
    distill(layout.root, params, "text")
    tree = yaml.safe_dump(params.model_dump(mode="json"))
    (layout.root / "params.yaml").write_text(tree)
    return layout


def export(project: Layout, folder: Path, name: str, **options: object) -> Path:
    plugin = Plugin.model_validate({"name": name, **options})
    export_student(project.root, small_params(), "text", plugin, folder)
    return folder


def cosines(values: FloatArray) -> FloatArray:
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T, dtype=np.float32)


@pytest.mark.parametrize("name", EXPORTS.names())
def test_every_export_loads_and_encodes_rows_independently(
    project: Layout, tmp_path: Path, name: str
) -> None:
    folder = export(project, tmp_path / "out", name)

    loaded = load_export(folder)
    values = loaded.encode(TEXTS)

    assert values.shape == (len(TEXTS), loaded.dim)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    np.testing.assert_allclose(loaded.encode(TEXTS[2:3])[0], values[2], rtol=1e-4, atol=1e-5)
    assert loaded.encode([]).shape == (0, loaded.dim)
    np.testing.assert_array_equal(load_model(project.root, str(folder))(TEXTS), values)


@pytest.mark.parametrize("name", EXPORTS.names())
def test_every_export_is_reproducible_and_writes_no_pickle(
    project: Layout, tmp_path: Path, name: str
) -> None:
    first, second = (export(project, tmp_path / one, name) for one in ("first", "second"))

    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert {file.suffix for file in files} == {".json", ".safetensors"}
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)


@pytest.mark.parametrize("name", ["whitened", "onnx"])
def test_an_export_of_a_reported_student_has_its_card(
    project: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    example = write_predicted_run(tmp_path / "example")
    write_report(example.root, collect(example.root, example_params(), "text", speed=False))
    facts = json.loads(example.facts.read_text(encoding="utf-8"))
    facts["student"]["student_sha256"] = weights_digest(project.student)
    project.facts.write_text(json.dumps(facts), encoding="utf-8")

    folder = export(project, tmp_path / "out", name)

    project.facts.unlink()
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"the export `{name}`" in card
    monkeypatch.chdir(folder)
    found: dict[str, Any] = {}
    exec(card.split("```python\n")[1].split("```")[0], found)  # noqa: S102
    if name == "onnx":
        assert found["session"].get_outputs()[0].name == "sentence_embedding"
    else:
        np.testing.assert_array_equal(found["embeddings"], load_export(folder).encode(["a text"]))


@pytest.mark.parametrize("name", EXPORTS.names())
def test_an_export_of_another_student_is_refused(
    project: Layout, tmp_path: Path, name: str
) -> None:
    folder = export(project, tmp_path / "out", name)
    shutil.rmtree(folder / "student")
    shutil.copytree(project.undistilled, folder / "student")

    with pytest.raises(StoreError, match="export the student again"):
        load_export(folder)


@pytest.mark.parametrize("file", ["export.json", "export.safetensors"])
def test_a_missing_or_damaged_file_is_named(project: Layout, tmp_path: Path, file: str) -> None:
    folder = export(project, tmp_path / "out", "whitened")
    (folder / file).write_bytes(b"{")
    with pytest.raises(DataError, match="is damaged"):
        load_export(folder)

    (folder / file).unlink()
    with pytest.raises(MissingDataError, match=file):
        load_export(folder)


def test_the_arrays_of_another_export_are_refused(project: Layout, tmp_path: Path) -> None:
    folder = export(project, tmp_path / "out", "plain")
    card = json.loads((folder / "export.json").read_text())
    card["export"]["name"] = "whitened"
    (folder / "export.json").write_text(json.dumps(card))

    with pytest.raises(DataError, match="'mean'"):
        load_export(folder)


def test_plain_is_the_student_itself(project: Layout, tmp_path: Path) -> None:
    loaded = load_export(export(project, tmp_path / "out", "plain"))

    np.testing.assert_array_equal(
        loaded.encode(TEXTS), encode(load_student(project.student), TEXTS)
    )


def correlated(rows: int = 4000) -> FloatArray:
    draw = np.random.default_rng(0)
    values = draw.normal(size=(rows, 5)) * [5, 2, 1, 0.5, 0.1]
    turned = values @ np.linalg.qr(draw.normal(size=(5, 5)))[0] + 3
    return np.asarray(turned, dtype=np.float32)


def test_full_whitening_leaves_mean_zero_and_the_identity_as_covariance() -> None:
    values = correlated()

    applied = Whitened.build(values, shrinkage=0.0).apply(values)

    np.testing.assert_allclose(applied.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(applied.T), np.eye(5), atol=1e-2)


def test_shrinkage_of_one_only_centres_and_scales_by_one_number() -> None:
    values = correlated()

    applied = Whitened.build(values, shrinkage=1.0).apply(values)

    centred = values - values.mean(axis=0)
    scale = np.linalg.norm(applied) / np.linalg.norm(centred)
    np.testing.assert_allclose(applied, scale * centred, atol=1e-3)


def test_with_fewer_dimensions_those_of_greatest_variance_are_kept() -> None:
    values = correlated()
    first = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)[0][:, 0]

    applied = Whitened.build(values, shrinkage=0.0, dim=2).apply(values)

    assert applied.shape == (4000, 2)
    assert abs(np.corrcoef(applied[:, 0], first)[0, 1]) > 0.999


def test_a_constant_direction_is_not_amplified() -> None:
    values = correlated()
    values[:, 2] = 1.0

    applied = Whitened.build(values, shrinkage=0.0).apply(values)

    assert np.isfinite(applied).all()
    assert np.abs(applied[:, 2]).max() < 1e-2


@pytest.mark.parametrize("options", [{"shrinkage": 1.5}, {"dim": 0}, {"dim": 6}])
def test_whitening_out_of_bounds_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ParamsError, match=next(iter(options))):
        Whitened.build(correlated(9), **options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="two rows"):
        Whitened.build(correlated(1))


@pytest.mark.parametrize("standardised", [False, True])
def test_consensus_cosines_are_the_mean_of_the_teachers_predicted_cosines(
    project: Layout, *, standardised: bool
) -> None:
    embeddings = encode(load_student(project.student), TEXTS)
    heads = load_heads(project.heads)
    expected = []
    for teacher, (mean, _) in predicted_moments(heads.module, embeddings).items():
        own = heads.standardisers[teacher]
        expected.append(cosines(mean if standardised else mean * own.std + own.mean))

    whole = PredictedConsensus.build(embeddings, heads, dim=19, standardised=standardised)
    narrow = PredictedConsensus.build(embeddings, heads, dim=5, standardised=standardised)

    applied = whole.apply(embeddings)
    np.testing.assert_allclose(np.linalg.norm(applied, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(applied @ applied.T, np.mean(expected, axis=0), atol=1e-5)
    # Five rows span at most five directions, so nothing is lost.
    np.testing.assert_allclose(cosines(narrow.apply(embeddings)), np.mean(expected, axis=0), atol=1e-4)  # fmt: skip


def test_the_consensus_has_the_width_of_the_student_by_default(
    project: Layout, tmp_path: Path
) -> None:
    assert sum(TEACHERS.values()) == 19
    assert load_export(export(project, tmp_path / "a", "predicted-consensus")).dim == 8
    assert load_export(export(project, tmp_path / "b", "predicted-consensus", dim=3)).dim == 3
    with pytest.raises(ParamsError, match="from 1 to 19, got 20"):
        export(project, tmp_path / "c", "predicted-consensus", dim=20)


def test_the_consensus_with_heads_of_another_student_is_refused(
    project: Layout, tmp_path: Path
) -> None:
    other = shutil.copytree(project.root, tmp_path / "other")
    shutil.rmtree(other / "artifacts/text/student")
    shutil.copytree(project.undistilled, other / "artifacts/text/student")

    with pytest.raises(StoreError, match="belongs to a student"):
        export(Layout(other, "text"), tmp_path / "out", "predicted-consensus")


def test_options_are_checked_first_and_a_foreign_folder_is_not_overwritten(
    project: Layout, tmp_path: Path
) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'whitened'"):
        export(project, tmp_path / "out", "whitend")
    with pytest.raises(UnknownNameError, match="Did you mean 'shrinkage'"):
        export(project, tmp_path / "out", "whitened", shrink=0.1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="holds no export"):
        export(project, tmp_path / "mine", "plain")
    assert (tmp_path / "mine" / "letter.txt").exists()


def test_the_command_writes_an_export_that_encode_reads(
    project: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    (tmp_path / "texts.txt").write_text("red cat\nblue dog\n")
    run = CliRunner()
    target = str(tmp_path / "out")

    made = run.invoke(app, ["export", "text", "--as", "whitened", "-o", target,
                            "--option", "shrinkage=0.5", "--option", "dim=3", "--json"])  # fmt: skip
    used = run.invoke(
        app, ["encode", target, str(tmp_path / "texts.txt"), "-o", str(tmp_path / "e.npy")]
    )

    assert made.exit_code == 0, made.output
    assert json.loads(made.output)["dim"] == 3
    assert used.exit_code == 0, used.output
    assert np.load(tmp_path / "e.npy").shape == (2, 3)
    bad = run.invoke(app, ["export", "text", "--as", "plain", "-o", target, "--option", "a"])  # fmt: skip
    assert bad.exit_code == 2
    assert "--option must be name=value" in bad.output


def test_the_command_writes_onnx_files(
    project: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    target, run = str(tmp_path / "onnx"), CliRunner()

    made = run.invoke(
        app, ["export", "text", "--as", "onnx", "-o", target, "--option", "int8=true", "--json"]
    )
    bad = run.invoke(
        app, ["export", "text", "--as", "onnx", "-o", f"{target}2", "--option", "int8=1"]
    )

    report = json.loads(made.output)
    assert report["difference"] < 1e-5
    assert report["checked"] > 0
    assert {path.name for path in (tmp_path / "onnx").iterdir()} == {
        "model.onnx", "model_quantized.onnx", "onnx.json", "tokenizer.json"
    }  # fmt: skip
    assert bad.exit_code == 2
    assert "The export onnx has one option" in bad.output
    assert not Path(f"{target}2").exists()
