from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from experiments.paired import PairedScores
from polydistill.errors import DataError
from tests.made_predictions import TASKS, made_table


def paired(**shift: float) -> PairedScores:
    levels = {"one": 0.5, "other": 0.4}
    tables = {
        seed: made_table(seed, {**levels, "one": 0.5 + shift.get(f"s{seed}", 0.0)})
        for seed in (0, 1)
    }
    return PairedScores(tables, TASKS, resamples=2000)


def test_means_are_over_tasks_then_kinds_and_over_seeds() -> None:
    levels, shifts = {"one": 0.5, "other": 0.4}, {("one", "tweets"): 0.3}

    scores = PairedScores({0: made_table(0, levels, shifts)}, TASKS, resamples=100)

    assert scores.mean("all", "regression", "one") == pytest.approx(0.65)
    assert scores.mean("all", "mean", "one") == pytest.approx((0.5 + 0.5 + 0.65) / 3)
    assert scores.mean("in-domain", "mean", "one") == pytest.approx(0.5)
    assert scores.kinds("out-of-domain") == ["regression", "mean"]


def test_a_difference_holds_the_truth_and_is_narrower_than_either_score() -> None:
    scores = paired(s1=0.02)

    gain = scores.difference("all", "mean", "one", "other")

    assert gain.mean == pytest.approx(0.11)
    assert gain.low < 0.11 < gain.high
    assert (
        gain.high - gain.low < 0.05
    )  # the examples' own spread, which both share, is ten times that


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    covered = 0
    for trial in range(60):
        noise = np.random.default_rng(trial)
        frame = pd.concat(
            pd.DataFrame({"task": "topics", "example": range(60), "seed": 0, "model": model,
                          "score": level + noise.normal(size=60)})
            for model, level in (("one", 0.3), ("other", 0.0))
        )  # fmt: skip
        gain = PairedScores({0: frame}, TASKS, resamples=500).difference(
            "all", "mean", "one", "other"
        )
        covered += gain.low <= 0.3 <= gain.high

    assert 51 <= covered <= 60  # of 60; 57 are expected


def test_a_model_that_lacks_a_seed_is_compared_over_the_common_ones() -> None:
    first = made_table(0, {"one": 0.5, "other": 0.4})
    second = made_table(1, {"other": 0.9})

    scores = PairedScores({0: first, 1: second}, TASKS, resamples=100)

    assert scores.common_seeds("one", "other") == [0]
    assert scores.difference("all", "mean", "one", "other").mean == pytest.approx(0.1)
    assert scores.mean("all", "mean", "other") == pytest.approx(0.65)


def test_a_model_that_lacks_a_task_has_no_score_in_its_kind_and_no_mean() -> None:
    table = made_table(0, {"one": 0.5, "other": 0.4})
    partial = table[(table["model"] == "one") | (table["task"] != "news")]

    scores, whole = (PairedScores({0: some}, TASKS, resamples=100) for some in (partial, table))

    assert scores.kinds("all", "other") == ["classification", "clustering"]
    assert scores.kinds("all", "one") == scores.kinds("all") == whole.kinds("all", "other")
    for kind in scores.kinds("all", "other"):
        assert scores.difference("all", kind, "one", "other") == whole.difference(
            "all", kind, "one", "other"
        )


def test_examples_of_one_group_are_drawn_together() -> None:
    groups = dict.fromkeys(TASKS, pd.Series([f"document {number // 20}" for number in range(200)]))
    table = made_table(0, {"one": 0.5, "other": 0.4})
    shifted = table["model"].eq("one") & (table["example"] // 20 % 2 == 0)
    table.loc[shifted, "score"] += 1  # scores differ between documents, and not within one

    apart, together = (
        PairedScores({0: table}, TASKS, some, 500).difference("all", "mean", "one", "other")
        for some in (None, groups)
    )

    assert together.mean == apart.mean
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_models_with_scores_of_different_examples_are_refused() -> None:
    table = made_table(0, {"one": 0.5, "other": 0.4})
    short = table.drop(index=table.index[(table["model"] == "one") & (table["example"] == 3)])

    with pytest.raises(DataError, match="same examples of task"):
        PairedScores({0: short}, TASKS, resamples=100)
