from __future__ import annotations

import json
from pathlib import Path

import pytest

from polydistill.config.data import TaskParams
from polydistill.errors import MissingDataError
from polydistill.evaluation.scores import kind_means, mean_score, read_scores

TASKS = {
    "a": TaskParams(kind="sts", path="a", domain="in"),
    "b": TaskParams(kind="sts", path="b", domain="out"),
    "c": TaskParams(kind="regression", path="c", domain="out"),
}
SCORES = {"student": {"sts": {"a": 0.2, "b": 0.4}, "regression": {"c": 0.9}}}


def test_each_kind_counts_once_however_many_tasks_it_has() -> None:
    means = kind_means(SCORES, TASKS)["student"]

    assert means == {"sts": pytest.approx(0.3), "regression": pytest.approx(0.9)}
    assert mean_score(means) == pytest.approx(0.6)


def test_a_domain_leaves_the_other_domains_tasks_out() -> None:
    assert kind_means(SCORES, TASKS, "in")["student"] == {"sts": pytest.approx(0.2)}


def test_scores_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(SCORES), encoding="utf-8")

    assert read_scores(path) == SCORES


def test_missing_scores_say_which_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="run the evaluate stage"):
        read_scores(tmp_path / "scores.json")
