from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.config.params import Params
from polydistill.data.ids import pack_ids
from polydistill.embeddings.extraction import write_embeddings
from polydistill.errors import DataError, MissingDataError, StoreError
from polydistill.evaluation.information.sufficiency import Sufficiency
from polydistill.stages.distill import distill
from polydistill.stages.information import densities, information, markdown, measure
from polydistill.teachers.hashing import HashingTeacher
from tests.distill_project import TEACHERS, make_distill_project, small_params

MODELS = ["student", "undistilled", *TEACHERS]
SCORES = {"student": {"sts": {"one": 0.4, "two": 0.6}, "clustering": {"three": 0.3}}}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params]:
    root, params = tmp_path_factory.mktemp("project"), small_params(rows=400)
    make_distill_project(root, rows=400)
    distill(root, params, "text")
    return root, params


def nats(value: float) -> Sufficiency:
    return Sufficiency(value, value - 1, value + 1, 100)


def test_information_is_estimated_for_every_model_about_every_other_teacher(
    project: tuple[Path, Params],
) -> None:
    root, params = project

    report = information(root, params, "text")

    assert list(report.sufficiency) == MODELS
    for model, row in report.sufficiency.items():
        assert list(row) == [name for name in TEACHERS if name != model]
    assert report.density["student"].n_parameters == report.density["undistilled"].n_parameters
    assert report.density["first"].n_parameters is None  # hashing has no weights
    assert report.density["student"].points is None  # nothing has been evaluated


def test_estimates_use_held_out_rows_that_every_teacher_has(project: tuple[Path, Params]) -> None:
    root, params = project
    history = json.loads((root / "reports" / "text" / "distill.json").read_text("utf-8"))

    whole, capped = (information(root, params, "text", rows=rows) for rows in (8000, 200))

    assert (
        0.8 * history["n_held_out"] < whole.n_held_out < history["n_held_out"]
    )  # a teacher lacks a tenth
    assert whole.n_rows + whole.n_held_out == 360
    assert (capped.n_rows, capped.n_held_out) == (200, whole.n_held_out)


def test_the_page_is_reproducible_and_lists_every_model(project: tuple[Path, Params]) -> None:
    root, params = project
    results, pages = root / "docs" / "results" / "text", []
    for _ in range(2):
        information(root, params, "text")
        pages.append([(results / f"information.{kind}").read_bytes() for kind in ("json", "md")])

    assert pages[0] == pages[1]
    tree = json.loads(pages[0][0])
    cell = tree["sufficiency"]["student"]["first"]
    assert sorted(cell) == ["high", "low", "n_held_out", "nats"]
    assert cell["nats"] == round(cell["nats"], 4)
    rows = [line.split(" | ")[0] for line in pages[0][1].decode().splitlines()]
    assert all(rows.count(f"| {model}") == 2 for model in MODELS)
    assert sorted(path.name for path in results.iterdir()) == ["information.json", "information.md"]


def test_points_are_the_mean_over_task_kinds_in_hundredths(tmp_path: Path) -> None:
    params = small_params(rows=400, tasks={name: {"kind": "sts", "path": "a", "domain": "in"}
                                           for name in ("one", "two", "three")})  # fmt: skip
    layout = make_distill_project(tmp_path, rows=400)
    distill(tmp_path, params, "text")
    layout.scores.write_text(json.dumps(SCORES), encoding="utf-8")

    density = information(tmp_path, params, "text").density["student"]

    assert density.points == pytest.approx(40)
    assert density.n_parameters is not None
    assert density.points_per_million == pytest.approx(40e6 / density.n_parameters)


def test_density_is_nats_and_points_per_million_parameters_if_known() -> None:
    found = {"student": {"a": nats(3.0), "b": nats(5.0)}, "a": {"b": nats(2.0)}}

    result = densities(found, {"student": 4_000_000}, {"student": 60.0, "a": 70.0})

    assert (result["student"].nats, result["student"].n_teachers) == (8.0, 2)
    assert result["student"].nats_per_million == pytest.approx(2.0)
    assert result["student"].points_per_million == pytest.approx(15.0)
    assert (result["a"].nats, result["a"].points) == (2.0, 70.0)
    assert result["a"].nats_per_million is None
    assert result["a"].points_per_million is None


def test_a_student_that_copies_the_teachers_has_more_information_than_noise() -> None:
    draw = np.random.default_rng(0)
    teacher = draw.normal(size=(2000, 6)).astype(np.float32)
    noise = draw.normal(size=(2000, 6)).astype(np.float32)
    students = {"student": teacher + noise, "undistilled": noise}

    found = measure(students, {"one": teacher}, np.arange(2000) % 4 == 0, np.arange(2000), seed=0)

    assert found["student"]["one"].nats == pytest.approx(3 * np.log(2), abs=0.2)
    assert found["undistilled"]["one"].nats == pytest.approx(0, abs=0.05)
    assert found["one"] == {}


def test_an_unknown_size_is_shown_as_not_available(project: tuple[Path, Params]) -> None:
    root, params = project

    page = markdown(information(root, params, "text"))

    row = next(line for line in page.split("## Density")[1].splitlines() if "| first |" in line)
    assert row.count("n/a") == 4


def test_the_error_for_a_missing_student_says_what_to_run(tmp_path: Path) -> None:
    make_distill_project(tmp_path)

    with pytest.raises(MissingDataError, match="run the distill stage"):
        information(tmp_path, small_params(), "text")


def test_embeddings_of_other_rows_are_refused(tmp_path: Path) -> None:
    layout = make_distill_project(tmp_path)
    teacher = HashingTeacher("first", 1, dim=12)
    write_embeddings(
        layout.embeddings("corpus", "first"), tmp_path / "w", pack_ids(["0" * 32]), ["x"], teacher
    )

    with pytest.raises(StoreError, match="does not hold the rows of the corpus"):
        information(tmp_path, small_params(), "text")


def test_a_corpus_without_held_out_rows_is_refused(tmp_path: Path) -> None:
    make_distill_project(tmp_path)

    with pytest.raises(DataError, match=r"corpus\.held_out: 0\.0 holds out 0"):
        information(tmp_path, small_params(corpus={"held_out": 0.0}), "text")


def test_the_command_refuses_to_fit_on_no_rows() -> None:
    result = CliRunner().invoke(app, ["information", "text", "--rows", "0"])

    assert result.exit_code == 2
