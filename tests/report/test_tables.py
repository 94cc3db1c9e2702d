from __future__ import annotations

import pandas as pd
import pytest

from polydistill.errors import DataError
from polydistill.evaluation.statistics.kinds import Scores
from polydistill.report.tables import (
    MEAN,
    mean_scores,
    model_order,
    require_known,
    shares_of_best_teacher,
    task_scores,
)
from tests.report.example_run import MODELS, TASKS, example_params, example_scores

SCORES = example_scores()
TASK_PARAMS = example_params().modality("text").tasks
TEACHERS = list(MODELS)[2:]


def test_the_mean_counts_each_kind_once_however_many_tasks_it_has() -> None:
    scores = {"student": {"sts": {"simlex": 0.9}, "regression": {"vader-tweets": 0.2}}}
    scores["student"]["regression"]["vader-movie"] = 0.4

    means = mean_scores(scores, TASK_PARAMS, TEACHERS)

    assert means.loc["student"].to_dict() == pytest.approx(
        {"sts": 0.9, "regression": 0.3, MEAN: 0.6}
    )


def test_a_model_that_lacks_a_task_has_no_mean_that_the_task_counts_in() -> None:
    scores = example_scores()
    del scores["use-m3"]["regression"]["vader-movie"]

    by_kind = mean_scores(scores, TASK_PARAMS, TEACHERS).loc["use-m3"].dropna().index

    assert set(by_kind) == {"classification", "clustering", "sts"}


def test_in_domain_and_out_of_domain_tasks_stand_apart() -> None:
    inside = mean_scores(SCORES, TASK_PARAMS, TEACHERS, "in")
    outside = mean_scores(SCORES, TASK_PARAMS, TEACHERS, "out")

    assert list(inside) == ["classification", "clustering", MEAN]
    assert list(outside) == ["classification", "regression", "sts", MEAN]
    score = SCORES["student"]["classification"]["brown-genre"]
    assert outside.loc["student", "classification"] == score


def test_without_tasks_there_are_no_means() -> None:
    scores: Scores = {name: {} for name in MODELS}

    means = mean_scores(scores, TASK_PARAMS, TEACHERS)

    assert means.empty


def test_models_come_as_student_undistilled_teachers_in_the_switchboards_order() -> None:
    scores: Scores = {name: {} for name in ("zeta", *reversed(MODELS))}

    assert model_order(scores, TEACHERS) == [*MODELS, "zeta"]


def test_each_task_has_a_row_and_each_model_a_column() -> None:
    table = task_scores(SCORES, TASK_PARAMS, TEACHERS)

    assert list(table.index) == list(TASKS)
    assert list(table) == list(MODELS)
    assert table.loc["simlex", "use-m3"] == SCORES["use-m3"]["sts"]["simlex"]


def test_shares_are_relative_to_the_best_teacher() -> None:
    scores = {"student": 0.6, "undistilled": 0.9, "a": 0.5, "b": 0.8, "rival": 0.95}
    means = pd.DataFrame({MEAN: scores})

    shares = shares_of_best_teacher(means, ["a", "b"])
    assert shares.loc["student", MEAN] == pytest.approx(0.75)


@pytest.mark.parametrize("scores", [{"student": 0.6, "a": -0.1}, {"student": 0.6}])
def test_there_is_no_share_of_a_teacher_at_zero_or_of_none(scores: dict[str, float]) -> None:
    assert shares_of_best_teacher(pd.DataFrame({MEAN: scores}), ["a"]).isna().all(axis=None)


def test_scores_of_a_task_that_params_do_not_have_are_refused() -> None:
    scores = {"student": {"sts": {"stsb": 0.5}}}

    with pytest.raises(DataError, match=r"task 'stsb', which is not in params\.yaml"):
        require_known(scores, TASK_PARAMS)


def test_scores_without_a_student_are_refused() -> None:
    with pytest.raises(DataError, match="must have the model 'student', got use-m3"):
        require_known({"use-m3": {}}, TASK_PARAMS)
