from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polydistill.report.comparison import BETTER, LEVEL, WORSE, compare


def rows(task: str, model: str, scores: np.ndarray) -> pd.DataFrame:
    examples = [f"{task} {number}" for number in range(len(scores))]
    return pd.DataFrame({"task": task, "example": examples, "model": model, "score": scores})


def predictions(gains: dict[str, float], n: int = 200, noise: float = 0.05) -> pd.DataFrame:
    """Return scores of `student` and `other` on each task, with a mean difference of `gains`."""
    rng = np.random.default_rng(0)
    parts = []
    for task, gain in gains.items():
        other = rng.random(n)
        change = rng.normal(size=n)
        change = gain + noise * (change - change.mean()) / change.std()
        parts += [rows(task, "student", other + change), rows(task, "other", other)]
    return pd.concat(parts, ignore_index=True)


def test_clear_differences_have_a_verdict_and_others_are_level() -> None:
    gains = {"up": 0.05, "same": 0.0, "down": -0.05}
    kinds = dict.fromkeys(gains, "sts")

    found = compare(predictions(gains), kinds, "student", ["other"])

    verdicts = {row.name: row.differences["other"].verdict for row in found.tasks}
    assert verdicts == {"up": BETTER, "same": LEVEL, "down": WORSE}
    up = found.tasks[0].differences["other"]
    assert up.mean == pytest.approx(0.05)
    assert up.low < 0.05 < up.high


def test_a_difference_that_chance_explains_among_many_tasks_is_level() -> None:
    """With 200 examples, the standard error is 0.05 / sqrt(200) = 0.0035; 0.009 has p = 0.01 on its own."""
    alone = {"borderline": 0.009}
    among = alone | {f"task-{number}": 0.0 for number in range(9)}

    found = [
        compare(predictions(gains), dict.fromkeys(gains, "sts"), "student", ["other"]).tasks[0]
        for gains in (alone, among)
    ]

    assert [row.differences["other"].verdict for row in found] == [BETTER, LEVEL]
    assert found[1].differences["other"].low > 0  # the interval of one task is not widened


def test_a_reference_without_a_task_has_no_mean_over_it() -> None:
    kinds = {"one": "sts", "two": "classification"}
    both = predictions({"one": 0.05, "two": 0.05})
    some = both[~((both["task"] == "two") & (both["model"] == "other"))]

    found = compare(some, kinds, "student", ["other"])

    compared = {row.name: "other" in row.differences for row in (*found.tasks, *found.kinds)}
    assert compared == {
        "one": True,
        "two": False,
        "sts": True,
        "classification": False,
        "mean": False,
    }
    assert not found.shares


def test_kinds_have_equal_weights_in_the_mean_and_in_the_share() -> None:
    kinds = {"one": "sts", "two": "sts", "three": "classification"}
    table = pd.concat(
        rows(task, model, np.full(5, score))
        for model, scores in {"student": (0.2, 0.4, 0.9), "other": (0.4, 0.8, 0.9)}.items()
        for task, score in zip(kinds, scores, strict=True)
    )

    found = compare(table, kinds, "student", ["other"])

    assert found.kinds[-1].score == pytest.approx((0.3 + 0.9) / 2)
    assert found.shares["other"][0] == pytest.approx(0.6 / 0.75)
