from __future__ import annotations

import pytest

from polydistill.errors import DataError
from polydistill.evaluation.scores import Scores
from polydistill.report.tables import (
    MEAN,
    best_teacher,
    means,
    model_order,
    require_known,
    retained,
    score_table,
    task_table,
)
from tests.report.example_run import MODELS, TASKS, example_params, example_scores

SCORES = example_scores()
TASK_PARAMS = example_params().modality("text").tasks
TEACHERS = list(MODELS)[2:]


def test_the_mean_counts_each_kind_once_however_many_tasks_it_has() -> None:
    scores = {"student": {"sts": {"simlex": 0.9}, "regression": {"vader-tweets": 0.2}}}
    scores["student"]["regression"]["vader-movie"] = 0.4

    mean = means(scores, TASK_PARAMS)["student"]

    assert mean == pytest.approx({"sts": 0.9, "regression": 0.3, MEAN: 0.6})


def test_a_model_that_lacks_a_task_has_no_mean_that_the_task_counts_in() -> None:
    scores = example_scores()
    del scores["use-m3"]["regression"]["vader-movie"]

    by_kind = means(scores, TASK_PARAMS)["use-m3"]

    assert set(by_kind) == {"classification", "clustering", "sts"}


def test_in_domain_and_out_of_domain_tasks_stand_apart() -> None:
    inside = score_table(SCORES, TASK_PARAMS, TEACHERS, "in")
    outside = score_table(SCORES, TASK_PARAMS, TEACHERS, "out")

    assert inside.columns == ("classification", "clustering", MEAN)
    assert outside.columns == ("classification", "regression", "sts", MEAN)
    assert outside.rows[0].cells[0].value == SCORES["student"]["classification"]["brown-genre"]


def test_models_come_as_student_undistilled_teachers_in_the_switchboards_order() -> None:
    scores: Scores = {name: {} for name in ("zeta", *reversed(MODELS))}

    assert model_order(scores, TEACHERS) == [*MODELS, "zeta"]


def test_the_best_of_each_task_is_marked_and_nothing_else() -> None:
    table = task_table(SCORES, TASK_PARAMS, TEACHERS)

    assert [row.name for row in table.rows] == list(TASKS)
    for row in table.rows:
        best = max(cell.value for cell in row.cells if cell.value is not None)
        assert [cell.best for cell in row.cells] == [cell.value == best for cell in row.cells]


def test_retained_quality_is_the_students_share_of_the_best_teacher() -> None:
    by_model = {
        "student": {MEAN: 0.6},
        "undistilled": {MEAN: 0.9},
        "a": {MEAN: 0.5},
        "b": {MEAN: 0.8},
    }

    assert best_teacher(by_model) == "b"
    assert retained(by_model) == pytest.approx(0.75)


def test_retained_quality_of_a_teacher_at_zero_or_of_none_cannot_be_said() -> None:
    assert retained({"student": {MEAN: 0.6}, "a": {MEAN: -0.1}}) is None
    assert retained({"student": {MEAN: 0.6}}) is None


def test_scores_of_a_task_that_params_do_not_have_are_refused() -> None:
    scores = {"student": {"sts": {"stsb": 0.5}}}

    with pytest.raises(DataError, match=r"task 'stsb', which params\.yaml has not"):
        require_known(scores, TASK_PARAMS)


def test_scores_without_a_student_are_refused() -> None:
    with pytest.raises(DataError, match="must have the model 'student', got use-m3"):
        require_known({"use-m3": {}}, TASK_PARAMS)
