from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from polydistill.errors import DataError
from polydistill.project.layout import Layout
from polydistill.report.card import facts_of, render_card
from polydistill.report.facts import collect
from polydistill.report.gate import DASH
from polydistill.report.headline import headline
from polydistill.report.page import render_digest, write_report
from tests.report.example_run import (
    STUDENT_SHA256,
    example_params,
    write_large_run,
    write_mapped_run,
    write_predicted_run,
)

TEACHERS = ("minilm-l6", "use-m3")


def card_of(layout: Layout, **changes: object) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Write a report; return its model card, the metadata of the card, and `report.json`."""
    write_report(layout.root, collect(layout.root, example_params(**changes), "text", speed=False))
    card = layout.model_card.read_text(encoding="utf-8")
    facts = json.loads(layout.facts.read_text(encoding="utf-8"))
    return card, yaml.safe_load(card.split("\n---\n")[0]), facts


def licensed(*licences: str | None) -> dict[str, object]:
    rows = {
        name: {"family": "hashing", "dim": 8, "licence": licence}
        for name, licence in zip(TEACHERS, licences, strict=True)
    }
    return {"teachers": rows}


def test_the_scores_of_the_metadata_are_those_of_report_json(tmp_path: Path) -> None:
    _, metadata, facts = card_of(write_predicted_run(tmp_path))

    (model,) = metadata["model-index"]
    found = {one["task"]["type"]: one["metrics"][0]["value"] for one in model["results"]}

    student = facts["models"][0]
    assert found == {**student["kinds"], "mean": student["mean"]}


def test_the_hub_reads_the_results(tmp_path: Path) -> None:
    card, metadata, _ = card_of(write_predicted_run(tmp_path))

    data: Any = ModelCard(card).data

    assert data.model_name == "student-text"
    assert [one.task_type for one in data.eval_results] == [
        *("classification", "clustering", "regression", "sts", "mean")
    ]
    assert (data.library_name, data.license) == (metadata["library_name"], metadata["license"])


def test_a_score_near_zero_stays_a_number(tmp_path: Path) -> None:
    card, _, facts = card_of(write_predicted_run(tmp_path))
    facts["models"][0]["kinds"]["sts"] = 1e-05

    metadata = yaml.safe_load(render_card(facts).split("\n---\n")[0])

    assert card != render_card(facts)
    assert metadata["model-index"][0]["results"][3]["metrics"][0]["value"] == 1e-05


def test_the_card_has_the_verdict_the_three_numbers_and_the_weak_points(tmp_path: Path) -> None:
    card, _, facts = card_of(write_predicted_run(tmp_path))

    assert "\n## Use it\n\nPromoted: the student is champion.\n" in card
    for one in facts["headline"]["numbers"]:
        assert f"| {one['name']} | **{one['value']}** | {one['interval'] or DASH} |" in card
    for sentence in facts["headline"]["weak"]:
        assert f"\n- {sentence}\n" in card
    assert "\n| minilm-l6 | teacher | 73.7 | 46.9 | 63.7 | 60.6 | 61.2 |\n" in card


def with_source(layout: Layout, licence: str) -> dict[str, object]:
    """Describe the corpus in `data/SOURCES.md`, and return its settings."""
    sources = layout.root / "data/SOURCES.md"
    sources.parent.mkdir(exist_ok=True)
    sources.write_text(f"| text/corpus.parquet | made | {licence} | 40 |\n", encoding="utf-8")
    return {"path": "data/text/corpus.parquet", "rows": 40, "held_out": 0.1}


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (("MIT", "MIT"), "mit"),
        (("MIT", "Apache-2.0"), "other"),
        (("MIT", None), "other"),
        (("PDDL-1.0 AND Apache-2.0", "PDDL-1.0 AND Apache-2.0"), "other"),
    ],
)
def test_a_licence_is_named_if_all_teachers_and_the_corpus_have_it(
    tmp_path: Path, licences: tuple[str | None, str | None], expected: str
) -> None:
    layout = write_predicted_run(tmp_path)
    corpus = with_source(layout, licences[0] or "")

    _, metadata, _ = card_of(layout, corpus=corpus, **licensed(*licences))

    assert metadata["license"] == expected
    assert ("license_name" in metadata) is (expected == "other")


def test_the_licence_of_the_corpus_counts_too(tmp_path: Path) -> None:
    layout = write_predicted_run(tmp_path)
    corpus = with_source(layout, "CC0-1.0")

    card, metadata, _ = card_of(layout, corpus=corpus, **licensed("MIT", "MIT"))

    assert metadata["license"] == "other"
    assert "- Corpus: `data/text/corpus.parquet`, made (CC0-1.0)." in card


def test_a_corpus_of_unknown_licence_has_not_that_of_the_teachers(tmp_path: Path) -> None:
    card, metadata, _ = card_of(write_predicted_run(tmp_path), **licensed("MIT", "MIT"))

    assert metadata["license"] == "other"
    assert "have the same licence" not in card


def test_a_card_of_fifty_tasks_and_twelve_teachers_has_about_80_lines(tmp_path: Path) -> None:
    params = write_large_run(tmp_path)

    write_report(tmp_path, collect(tmp_path, params, "text", speed=False))

    lines = Layout(tmp_path, "text").model_card.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 80
    assert "Of 14 models, 10 are shown" in "\n".join(lines)


@pytest.mark.parametrize("has_library", [True, False])
def test_the_code_that_loads_the_student_runs_in_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_library: bool
) -> None:
    params = write_mapped_run(tmp_path)
    write_report(tmp_path, collect(tmp_path, params, "text", speed=False))
    facts = json.loads(Layout(tmp_path, "text").facts.read_text(encoding="utf-8"))
    assert facts["use"]["is_sentence_transformer"]  # a bag of bytes
    facts["use"]["is_sentence_transformer"] = has_library
    monkeypatch.chdir(tmp_path)

    found: dict[str, Any] = {}
    exec(render_card(facts).split("```python\n")[1].split("```")[0], found)  # noqa: S102

    assert found["embeddings"].shape == (1, 8)
    assert ("SentenceTransformer" in found) is has_library


def test_only_a_report_of_the_same_student_gives_a_card(tmp_path: Path) -> None:
    layout = write_predicted_run(tmp_path)
    assert facts_of(layout, STUDENT_SHA256) is None
    _, _, facts = card_of(layout)

    assert facts_of(layout, STUDENT_SHA256) == facts
    assert facts_of(layout, "00" * 32) is None
    layout.facts.write_text(json.dumps(facts | {"format": 0}))
    assert facts_of(layout, STUDENT_SHA256) is None


@pytest.mark.parametrize(
    "content", ["[]", "nonsense", '{"format": 1}', '{"format": 1, "student": 3}']
)
def test_a_damaged_report_is_named(tmp_path: Path, content: str) -> None:
    layout = write_predicted_run(tmp_path)
    layout.facts.parent.mkdir(parents=True, exist_ok=True)
    layout.facts.write_text(content)

    with pytest.raises(DataError, match=r"report\.json is damaged: .*Make it again"):
        facts_of(layout, STUDENT_SHA256)


def test_labels_and_licences_bring_no_markup_into_the_card(tmp_path: Path) -> None:
    _, _, facts = card_of(write_predicted_run(tmp_path))
    facts["lineage"]["teachers"][0]["licence"] = "<b>MIT|x</b>\n---\nlicense: evil"
    part = {"by": "source", "name": f"<script>|{'x' * 4000}", "gap": -0.1, "n": 200}
    facts["slices"]["whole"] = [{**part, "low": -0.2, "high": -0.05}] * 2
    facts["headline"] = headline(facts)

    card, digest = render_card(facts), render_digest(facts)

    assert r"(\<b\>MIT\|x\</b\> --- license: evil)" in card
    assert r"Weak by source: \<script\>\|xxx" in card
    for page in (card, digest):
        assert r"Weakest part by source: \<script\>\|xxx" in page
        assert max(map(len, page.splitlines())) < 1000
