from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from polydistill.errors import DataError, MissingDataError
from polydistill.report.facts import collect
from polydistill.report.page import render_page, write_report
from polydistill.students.smiles_transformer import SmilesTransformerStudent
from tests.markup import HARMLESS, HOSTILE, Markup
from tests.report.example_run import (
    MODELS,
    TASKS,
    example_history,
    example_params,
    example_predictions,
    example_scores,
    example_verdict,
    write_large_run,
    write_predicted_run,
    write_run,
)


def draw(root: Path) -> str:
    page = write_report(root, collect(root, example_params(), "text", speed=False))
    return page.read_text(encoding="utf-8")


def text_of(html: str) -> str:
    """The page without markup, its spaces made one."""
    without = re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", without)


class Parsed(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_has_every_model_and_every_task(tmp_path: Path) -> None:
    write_run(tmp_path)

    html = draw(tmp_path)

    for name in (*MODELS, *TASKS):
        assert f'<th scope="row">{name}<' in html


def test_the_page_says_how_far_the_heads_can_be_believed(tmp_path: Path) -> None:
    write_run(tmp_path)

    text = text_of(draw(tmp_path))

    assert "it holds 89.6 % for use-m3 , 90.0 % for glove-50d ." in text


def test_the_page_asks_nobody_for_anything(tmp_path: Path) -> None:
    write_run(tmp_path)

    html = draw(tmp_path)

    for tag, attributes in Parsed(html).tags:
        assert tag not in {"iframe", "object", "embed", "base"}
        for name in ("src", "href", "srcset", "xlink:href"):
            link = attributes.get(name) or "#"
            assert link.startswith(("#", "data:", "data_docs/")), (tag, link)
    script = html.split("<script>")[1].split("</script>")[0]
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        in html
    )
    style = html.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    write_run(tmp_path / "one")
    write_run(tmp_path / "two")

    assert draw(tmp_path / "one") == draw(tmp_path / "two") == draw(tmp_path / "one")


def page_markup(root: Path, words: list[str]) -> Markup:
    """Write a run in which every name and sentence is one of `words`, and read its page."""
    names = iter(words)
    scores, verdict, history = example_scores(), example_verdict(), example_history()
    renamed = {teacher: next(names) for teacher in history["teacher"].unique()}
    scores |= {renamed.get(model, model): kinds for model, kinds in example_scores().items()}
    verdict["reason"] = next(names)
    for rule in verdict["rules"]:
        rule["because"], rule["task"] = next(names), rule["task"] and next(names)
    status = {"available": {next(names): 3}, "unavailable": {next(names): next(names)}}
    numbers = dict.fromkeys(
        ("best_step", "dim", "held_out_mean", "n_parameters", "n_train", "steps"), 9
    )
    distillation = numbers | {"coverage_90": {next(names): 0.9}, "student_sha256": next(names)}
    rule = {"because": next(names), "column": next(names), "count": 2, "success": False}
    validation = {
        "rules": [rule | {"table": next(names), "type": next(names)}],
        "success": False,
        "unavailable": [next(names)],
        "dropped": {next(names): {"missing": 1, "duplicate": 1, "contradictory": 1}},
    }
    layout = write_run(
        root,
        scores=scores,
        verdict=verdict,
        local_status=status,
        distillation=distillation,
        validation=validation,
    )
    history["teacher"] = history["teacher"].map(renamed)
    history.to_parquet(layout.history, index=False)
    return Markup(draw(root))


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 18))
def test_markup_in_names_and_sentences_is_text(tmp_path: Path, start: int) -> None:
    words = (HOSTILE * 2)[start : start + 30]

    hostile = page_markup(tmp_path / "hostile", words)

    harmless = page_markup(tmp_path / "harmless", HARMLESS)
    ours = {element for element in hostile.elements if element[0] not in {"path", "use", "g"}}
    assert ours <= set(harmless.elements)
    assert not [link for link in hostile.links if link.startswith("javascript")]
    assert not [name for element in hostile.elements for name in element if name.startswith("on")]


def test_without_scores_there_is_no_page(tmp_path: Path) -> None:
    layout = write_run(tmp_path, without=("scores",))

    with pytest.raises(MissingDataError, match="run the evaluate stage first"):
        draw(tmp_path)

    assert not layout.page.exists()


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("verdict", "The gate has not run."),
        ("validation", "the data has not been validated here"),
        ("local_status", "the fetch-data stage has not run here"),
        ("distillation", "distill.json is missing"),
        ("history", "There is no history.parquet"),
    ],
)
def test_a_missing_file_is_said(tmp_path: Path, missing: str, said: str) -> None:
    write_run(tmp_path, without=(missing,))

    assert said in text_of(draw(tmp_path)).replace(" distill.json ", "distill.json ")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    layout = write_run(tmp_path)
    layout.history.write_bytes(b"not parquet")

    with pytest.raises(DataError, match=r"history\.parquet is damaged"):
        draw(tmp_path)


def test_predictions_of_another_form_are_named(tmp_path: Path) -> None:
    layout = write_predicted_run(tmp_path)
    table = pd.read_parquet(layout.predictions)

    table.drop(columns="score").to_parquet(layout.predictions)
    with pytest.raises(DataError, match=r"predictions\.parquet is damaged: .*column 'score', got"):
        collect(tmp_path, example_params(), "text", speed=False)
    table.assign(score="high").to_parquet(layout.predictions)
    with pytest.raises(DataError, match=r"predictions\.parquet is damaged: .*must hold numbers"):
        collect(tmp_path, example_params(), "text", speed=False)


def test_a_refusal_shows_its_reason_and_the_broken_rule(tmp_path: Path) -> None:
    verdict = example_verdict() | {"outcome": "refused", "promoted": False, "refused": True}
    verdict["reason"] = "Version 4 is refused: it lost."
    verdict["rules"][1]["passed"] = False
    write_run(tmp_path, verdict=verdict)

    html = draw(tmp_path)

    assert '<section class="verdict bad refused"' in html
    assert "Refused: the previous champion stays." in html
    assert "Version 4 is refused: it lost." in html
    assert "broken" in html


def test_a_refusal_without_a_champion_names_the_challenger(tmp_path: Path) -> None:
    verdict = example_verdict() | {"outcome": "refused", "refused": True, "champion": None}
    write_run(tmp_path, verdict=verdict)

    html = draw(tmp_path)

    assert "Refused: there is no champion yet." in html
    assert "models:/student-text@challenger" in html
    assert "@champion" not in html


def test_a_verdict_on_another_student_says_so(tmp_path: Path) -> None:
    write_run(tmp_path, verdict=example_verdict() | {"student_sha256": "00" * 32})

    assert "But it judged another student." in draw(tmp_path)


def test_broken_expectations_and_absent_tasks_are_named(tmp_path: Path) -> None:
    rule = {
        "table": "simlex",
        "type": "expect_column_values_to_be_unique",
        "column": "id",
        "success": False,
        "count": 1234,
        "because": "an id occurs twice",
    }
    write_run(
        tmp_path,
        validation={"rules": [rule], "success": False, "unavailable": ["lee"]},
        local_status={"available": {}, "unavailable": ["lee", "brown-genre"]},
    )

    text = text_of(draw(tmp_path))

    assert "1 broken" in text
    assert "an id occurs twice (expect_column_values_to_be_unique, column id; 1,234 rows)" in text
    assert "could not be fetched" in text
    assert "lee , brown-genre" in text


def test_a_teacher_without_scores_is_named(tmp_path: Path) -> None:
    scores = example_scores()
    del scores["glove-50d"]
    write_run(tmp_path, scores=scores)

    assert "No scores of: glove-50d." in text_of(draw(tmp_path))


def test_every_figure_and_table_has_names_that_can_be_read_out(tmp_path: Path) -> None:
    write_run(tmp_path)

    html = draw(tmp_path)
    tags = Parsed(html).tags

    assert all(attributes.get("aria-label") for tag, attributes in tags if tag == "svg")
    assert all(attributes.get("scope") in {"row", "col"} for tag, attributes in tags if tag == "th")
    assert html.count("<figure") == html.count("<figcaption") == len(MODELS) - 1
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_settings_hold_every_parameter(tmp_path: Path) -> None:
    write_run(tmp_path)

    html = draw(tmp_path)

    assert "<code>text.training.learning_rate</code></th><td" in html
    assert "<code>text.teachers.glove-50d.family</code>" in html
    assert "<code>seed</code>" in html


@pytest.mark.parametrize(
    ("kind", "is_plain"),
    [("sentence_transformers.models.Transformer", True), (SmilesTransformerStudent.reader, False)],
)
def test_a_student_with_modules_of_ours_is_not_shown_as_a_sentence_transformer(
    tmp_path: Path, *, kind: str, is_plain: bool
) -> None:
    write_run(tmp_path)
    modules = tmp_path / "artifacts/text/student/modules.json"
    modules.parent.mkdir(parents=True, exist_ok=True)
    modules.write_text(json.dumps([{"type": kind}]))

    assert ("with sentence-transformers alone" in draw(tmp_path)) is is_plain


def test_the_page_is_made_of_the_facts_in_report_json(tmp_path: Path) -> None:
    layout = write_run(tmp_path)
    html = draw(tmp_path)

    facts = json.loads(layout.facts.read_text(encoding="utf-8"))

    assert render_page(facts) == html
    assert facts["headline"]["word"] == "Use it"
    assert facts["best_teacher"] == "minilm-l6"


def test_the_first_lines_say_use_it_how_good_it_is_and_what_it_costs(tmp_path: Path) -> None:
    write_predicted_run(tmp_path)

    html = draw(tmp_path)

    top = unescape(text_of(html.split('id="scores"')[0]))
    assert "Use it Promoted: the student is champion." in top
    assert re.search(
        r"Mean score against the undistilled student \+3\.5 points 95 % interval \[\+\S+ \+\S+\]",
        top,
    )
    assert re.search(r"Of the best teacher's mean score 9\d\.\d % 95 % interval", top)
    assert "Farthest behind minilm-l6 in " in top
    assert "Worse than the undistilled student on 1 of 7 tasks: simlex." in top
    assert "0.0 MB" in top


def test_without_predictions_there_are_no_intervals_and_the_page_says_so(tmp_path: Path) -> None:
    write_run(tmp_path)

    text = text_of(draw(tmp_path))

    assert "There is no predictions.parquet, so there are no intervals." in text.replace(
        " .", "."
    ).replace(" ,", ",")
    assert "no interval without predictions" in text


def test_the_digest_for_a_pull_request_has_at_most_40_lines_and_the_verdict(tmp_path: Path) -> None:
    layout = write_predicted_run(tmp_path)
    draw(tmp_path)

    lines = layout.digest.read_text(encoding="utf-8").splitlines()

    assert len(lines) <= 40
    assert lines[0] == "## Use it: distilled text student"
    assert any(line.startswith("| mean |") for line in lines)
    assert "Tasks against undistilled: 6 better, 0 level, 1 worse." in lines


def test_fifty_tasks_and_twelve_teachers_fit(tmp_path: Path) -> None:
    params = write_large_run(tmp_path)

    page = write_report(tmp_path, collect(tmp_path, params, "text", speed=False))

    html = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 1_000_000
    assert html.count('<tr id="task-') == 50
    assert len((page.parent / "report.md").read_text().splitlines()) <= 40


def test_a_model_that_is_neither_student_nor_teacher_is_a_rival(tmp_path: Path) -> None:
    scores = example_scores()
    scores["tfidf-svd"] = {"classification": dict(scores["student"]["classification"])}
    scores["tfidf-svd"]["classification"]["brown-genre"] = 0.99
    layout = write_run(tmp_path, scores=scores)
    html = draw(tmp_path)

    facts = json.loads(layout.facts.read_text(encoding="utf-8"))

    (rival,) = [one for one in facts["models"] if one["role"] == "rival"]
    assert (rival["name"], rival["mean"], list(rival["kinds"])) == (
        "tfidf-svd",
        None,
        ["classification"],
    )
    assert facts["best_teacher"] == "minilm-l6"
    assert '<th scope="row">tfidf-svd<small>rival</small></th>' in html


def test_the_student_is_compared_with_the_best_rival_that_needs_no_teacher(tmp_path: Path) -> None:
    scores = example_scores()
    for name, change in (("wordllama", 0.04), ("tfidf-svd", -0.04), ("teachers-pca", 0.06)):
        scores[name] = {
            kind: {task: round(score + change, 4) for task, score in tasks.items()}
            for kind, tasks in scores["student"].items()
        }
    layout = write_run(tmp_path, scores=scores)
    example_predictions(scores).to_parquet(layout.predictions, index=False)
    html = text_of(draw(tmp_path))

    facts = json.loads(layout.facts.read_text(encoding="utf-8"))
    assert facts["best_rival"] == "wordllama"
    assert facts["scores"]["references"] == ["undistilled", "wordllama", "minilm-l6"]
    whole = facts["scores"]["kinds"][-1]["differences"]["wordllama"]
    assert whole["mean"] == pytest.approx(-0.04, abs=0.01)
    assert "Worse than wordllama on" in html


def test_restarts_of_the_guard_are_listed_with_their_reasons(tmp_path: Path) -> None:
    distillation = json.loads(write_run(tmp_path).distillation.read_text())
    distillation["restarts"] = [{"step": 300, "resumed_from": 200, "reason": "the loss rose"}]
    write_run(tmp_path, distillation=distillation)

    text = text_of(draw(tmp_path))

    assert "300 200 the loss rose" in text


def test_the_index_lists_the_reported_versions_the_newest_first(tmp_path: Path) -> None:
    write_run(tmp_path)
    draw(tmp_path)
    draw(tmp_path)  # the same version again
    write_run(
        tmp_path,
        verdict=example_verdict() | {"challenger": 5, "outcome": "refused", "refused": True},
    )
    draw(tmp_path)

    index = (tmp_path / "reports" / "index.html").read_text(encoding="utf-8")

    assert '<a href="text/index.html">text</a>' in index
    assert re.findall(r'<th scope="row">(\d+)</th>', index) == ["5", "4"]
    assert index.count("Do not use it") == 1
