from __future__ import annotations

import pandas as pd

from polydistill.config.data import TaskParams
from polydistill.data.modalities import MODALITIES
from polydistill.evaluation.contamination import Contamination, contamination

CORPUS = ["A small boat.", "The king of spades", "rain"]
TASKS = {
    "texts": TaskParams(kind="classification", path="x.csv", domain="in"),
    "pairs": TaskParams(kind="sts", path="y.csv", domain="out"),
}


def found(texts: list[str], pairs: list[tuple[str, str]]) -> Contamination:
    frames = {
        "texts": pd.DataFrame({"text": texts}),
        "pairs": pd.DataFrame(pairs, columns=["text1", "text2"]),
    }
    return contamination(CORPUS, frames, TASKS, MODALITIES.get("text")())


def test_a_clean_benchmark_holds_nothing_of_the_corpus() -> None:
    assert found(["a large boat"], [("sun", "wind")]) == Contamination(
        {"texts": 0.0, "pairs": 0.0}, n_corpus=3, n_overlapping=0
    )


def test_case_and_punctuation_hide_nothing() -> None:
    assert found(["a small BOAT", "x", "y", "z"], [("a", "b")]).tasks["texts"] == 0.25


def test_a_pair_is_held_if_both_its_sides_are() -> None:
    held = found(["x"], [("rain", "sun"), ("Rain!", "the king of spades")])

    assert held.tasks["pairs"] == 0.5
    assert held.n_overlapping == 1
