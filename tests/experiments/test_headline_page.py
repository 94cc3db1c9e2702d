from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.comparison import RIVAL
from experiments.headline import compared_models
from experiments.headline_page import leaders, markdown, sentences
from experiments.paired import PairedScores
from polydistill.evaluation.statistics.kinds import OVERALL
from tests.made_headline import BM25, LEVELS, made_headline
from tests.made_predictions import TASKS, made_table


def row(page: str, first: str, table: int = 0) -> list[str]:
    """Return the cells after the first one, of the `table`-th row that begins with `first`."""
    rows = [line for line in page.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in rows[table].strip("|").split("|")][1:]


def test_models_are_in_order_with_the_best_student_of_a_single_teacher_first() -> None:
    report = made_headline()

    assert [model.label for model in report.models] == [
        "default", "only small", "only big", "paper", "undistilled", "rival table", "rival bm25",
        "teacher small", "teacher big",
    ]  # fmt: skip
    assert [model.label for model in report.deciding] == [
        "only small", "paper", "undistilled", "rival table", "rival bm25", "teacher big",
    ]  # fmt: skip


def test_a_lead_is_the_defaults_score_minus_the_models() -> None:
    single = made_headline().models[1]

    lead = single.lead(OVERALL)

    assert lead is not None
    assert lead.mean == pytest.approx(0.02)
    assert 0 < lead.low < 0.02 < lead.high
    assert made_headline().models[0].lead(OVERALL) is None


def test_the_first_sentence_says_what_is_above_level_and_below_in_the_mean() -> None:
    assert sentences(made_headline())[0] == (
        "In the mean over kinds, the default is above only small, paper, undistilled; level with rival table; below "
        "teacher big."
    )


def test_a_kind_in_which_a_rival_or_a_single_teacher_leads_is_named() -> None:
    sentence = sentences(made_headline(shifts={("only big", "topics"): 0.0505}))[1]

    assert sentence.startswith(
        "Among students and rivals, the default has the highest score in regression, the mean over kinds; not in "
        "classification (the default minus only big: -0.001 ["
    )
    assert "level), clustering (the default minus rival bm25: -0.100 [" in sentence
    assert sentence.endswith("below).")


def test_the_default_may_lead_in_every_kind() -> None:
    sentence = sentences(made_headline(shifts={(BM25, "clusters"): -0.5}))[1]

    assert sentence == (
        "Among students and rivals, the default has the highest score in classification, clustering, regression, the mean "
        "over kinds."
    )


def test_the_default_is_compared_with_the_best_teacher_in_every_kind() -> None:
    report = made_headline(shifts={("teacher big", "clusters"): -0.04})

    assert sentences(report)[2] == (
        "Against big, the best teacher in the mean, the default is level in clustering; below in classification, "
        "regression, the mean over kinds."
    )


def test_the_joint_embedding_of_the_teachers_is_a_reference_and_no_rival() -> None:
    joint = f"{RIVAL}teachers-pca"
    tables = {seed: made_table(seed, {**LEVELS, joint: 0.9}) for seed in (0, 1)}
    paired = PairedScores(tables, TASKS, resamples=100)
    models = compared_models(paired, ["table", "teachers-pca"], ["big"], {}, {})
    report = replace(made_headline(), models=models)

    assert "reference teachers-pca" in [model.label for model in report.deciding]
    assert "teachers-pca" not in leaders(report)


def test_the_page_has_scores_costs_and_differences() -> None:
    page = markdown(made_headline())

    assert "| | classification | clustering | regression | mean | MB | examples/s |" in page
    assert row(page, "**default**") == ["0.500 ±0.000"] * 4 + ["2.5", "12,346"]
    assert row(page, "only big") == ["0.450 ±0.000"] * 4 + ["2.5", "12,346"]
    assert row(page, "rival bm25") == ["-", "0.600", "-", "-", "-", "-"]
    assert row(page, "teacher big") == ["0.540"] * 4 + ["90.0", "-"]
    single, bm25 = row(page, "only small", 1), row(page, "rival bm25", 1)
    assert single[3].startswith("+0.020 [+0.0")
    assert single[3].endswith("] ±0.000")
    assert [cell[:6] for cell in bm25] == ["-", "-0.100", "-", "-"]
    assert page.count("| only big |") == 1  # of the single teachers, the best decides


def test_unknown_sizes_and_speeds_have_no_column() -> None:
    page = markdown(made_headline(sizes={}, speeds={}))

    assert "| | classification | clustering | regression | mean |" in page
    assert "MB" not in page
    assert "peed" not in page
