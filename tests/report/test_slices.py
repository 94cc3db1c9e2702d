from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polydistill.config.data import TaskParams
from polydistill.data.modalities.text import TextModality
from polydistill.report.slices import by_example, parts_of, slices, variants

TASKS = {"topics": TaskParams(kind="classification", path="x", domain="in")}


def frame(n: int = 120) -> pd.DataFrame:
    """Return test rows of three classes, from two sources, of one and of forty words."""
    return pd.DataFrame(
        {
            "id": [f"e{number}" for number in range(n)],
            "text": ["word" if number % 2 else " ".join(["word"] * 40) for number in range(n)],
            "label": ["abc"[number % 3] for number in range(n)],
            "source": ["press" if number % 4 else "forum" for number in range(n)],
            "split": "test",
        }
    )


def predictions(is_right: np.ndarray, model: str = "student") -> pd.DataFrame:
    ids = [f"e{number}" for number in range(len(is_right))]
    columns = {"task": "topics", "example": ids, "model": model, "score": is_right.astype(float)}
    return pd.DataFrame(columns)


def test_the_class_that_is_always_wrong_is_the_first_part_of_a_task() -> None:
    table, wrong = frame(), np.arange(120) % 3 == 1
    both = pd.concat([predictions(~wrong), predictions(np.ones(120), "teacher")])
    parts = parts_of({"topics": table}, TASKS, TextModality(), None)

    _, single = slices(by_example(both, ["student", "teacher"]), parts, "student", "teacher")

    worst = single[0]
    assert (worst.by, worst.name, worst.task, worst.n) == ("class", "b", "topics", 40)
    assert worst.score == 0
    assert worst.gap == pytest.approx(-2 / 3)
    assert worst.teacher == pytest.approx(-1)
    assert worst.high < 0


def test_long_texts_and_sources_are_parts_of_all_tasks_together() -> None:
    table, is_long = frame(), np.arange(120) % 2 == 0
    parts = parts_of({"topics": table}, TASKS, TextModality(), None)

    whole, _ = slices(by_example(predictions(~is_long), ["student"]), parts, "student", None)

    assert {(one.by, one.name) for one in whole} == {
        ("length", "1 to 3 words"),
        ("length", "31 to 100 words"),
        ("source", "press"),
        ("source", "forum"),
    }
    longest = next(one for one in whole if one.name == "31 to 100 words")
    assert longest.gap == pytest.approx(-0.5)
    assert longest.teacher is None


def test_all_rows_of_a_clustering_are_in_parts_if_its_table_has_a_split() -> None:
    table = frame().assign(split=["train", "test"] * 60)
    tasks = {"topics": TaskParams(kind="clustering", path="x", domain="in")}

    parts = parts_of({"topics": table}, tasks, TextModality(), None)

    assert (parts["by"] == "class").sum() == len(table)


def test_the_loss_on_misspelt_texts_is_paired_with_the_texts_as_they_are() -> None:
    plain, typos = np.ones(100), np.arange(100) % 4 > 0
    both = pd.concat(
        [predictions(plain).assign(variant=""), predictions(typos).assign(variant="typos")]
    )

    (found,) = variants(both, ["student"])

    assert (found.name, found.task, found.model, found.n) == ("typos", "topics", "student", 100)
    assert (found.plain, found.disturbed) == (1.0, 0.75)
    assert found.low < -0.25 < found.high < 0


def test_intervals_draw_whole_groups_as_those_of_the_tasks_do() -> None:
    wrong = np.arange(120) // 6 % 3 == 0  # all six examples of a group are right, or all are wrong
    table = frame().assign(label="a", source="press", text="word", group=np.arange(120) // 6)
    alone = table.drop(columns="group")
    scores = by_example(predictions(~wrong), ["student"])

    widths = []
    for one in (table, alone):
        parts = parts_of({"topics": one}, TASKS, TextModality(), None)
        (found, *_), _ = slices(scores, parts, "student", None)
        widths.append(found.high - found.low)

    assert widths[0] == pytest.approx(6**0.5 * widths[1], rel=0.15)


def test_a_part_of_few_groups_is_left_out() -> None:
    table = frame().assign(group=np.arange(120) // 40)
    parts = parts_of({"topics": table}, TASKS, TextModality(), None)

    found = slices(by_example(predictions(np.ones(120)), ["student"]), parts, "student", None)

    assert found == ([], [])


def test_the_interval_of_a_variant_draws_whole_groups() -> None:
    typos = np.arange(120) // 6 % 3 > 0
    groups = {"topics": pd.Series(np.arange(120) // 6, index=[f"e{n}" for n in range(120)])}
    both = pd.concat(
        [predictions(np.ones(120)).assign(variant=""), predictions(typos).assign(variant="typos")]
    )

    (grouped,), (alone,) = (variants(both, ["student"], one) for one in (groups, None))

    assert grouped.high - grouped.low == pytest.approx(6**0.5 * (alone.high - alone.low), rel=0.15)


def test_predictions_without_variants_have_none() -> None:
    assert variants(predictions(np.ones(30)), ["student"]) == []
