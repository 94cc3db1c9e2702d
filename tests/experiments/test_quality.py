from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.method_comparison import compare_methods
from experiments.methods import compared_methods
from experiments.quality import compare, markdown, quality, write_quality
from polydistill.config.data import TaskParams
from polydistill.config.params import Params, load_params, parse_params
from polydistill.data.ids import pack_ids
from polydistill.data.modalities import MODALITIES
from polydistill.embeddings.extraction import write_embeddings
from polydistill.errors import DivergedError, MissingDataError
from polydistill.project.layout import Layout
from polydistill.teachers import TEACHERS
from tests.our_params import text_params
from tests.stored_corpus import store_corpus

TASKS = {
    "topics": TaskParams(kind="classification", path="a", domain="in"),
    "clusters": TaskParams(kind="clustering", path="a", domain="in"),
    "tweets": TaskParams(kind="regression", path="b", domain="out"),
    "news": TaskParams(kind="regression", path="c", domain="out"),
}
LEVELS = {"undistilled": 0.2, "student": 0.3, "teacher": 0.6}


def predictions(seed: int, shift: float = 0.0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    frames = []
    for task in TASKS:
        hard = np.random.default_rng(9).normal(size=200)
        for model, level in LEVELS.items():
            moved = level + (shift if model == "student" else 0)
            scores = moved + hard - hard.mean() + generator.normal(scale=0.1, size=200)
            frames.append(
                pd.DataFrame(
                    {
                        "task": task,
                        "example": range(200),
                        "seed": 0,
                        "model": model,
                        "score": scores,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def test_gains_are_means_over_tasks_kinds_and_seeds() -> None:
    report = compare("text", {0: predictions(0), 1: predictions(1, shift=0.1)}, TASKS)

    gain = report.gains["all"]["mean"]
    assert gain.mean == pytest.approx(0.15, abs=0.02)
    assert gain.low < gain.mean < gain.high
    assert gain.above_zero
    assert gain.mean == pytest.approx(
        np.mean([report.gains["all"][kind].mean for kind in report.tasks])
    )


def test_examples_of_one_group_are_drawn_together() -> None:
    pairs = pd.Series([f"document {number // 20}" for number in range(200)])
    table, groups = predictions(0), dict.fromkeys(TASKS, pairs)
    shifted = table["model"].eq("student") & (table["example"] // 20 % 2 == 0)
    table.loc[shifted, "score"] += 1  # scores differ between documents, and not within one

    apart = compare("text", {0: table}, TASKS).gains["all"]["mean"]
    together = compare("text", {0: table}, TASKS, groups).gains["all"]["mean"]

    assert together.mean == apart.mean
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_each_domain_is_compared_separately() -> None:
    report = compare("text", {0: predictions(0)}, TASKS)

    assert list(report.gains["in-domain"]) == ["classification", "clustering", "mean"]
    assert list(report.gains["out-of-domain"]) == ["regression", "mean"]
    assert report.tasks["regression"] == ["news", "tweets"]


def test_the_gap_closed_is_the_share_of_the_best_teachers_lead() -> None:
    report = compare("text", {0: predictions(0)}, TASKS)

    kinds = ["classification", "clustering", "regression", "mean"]
    assert report.gap_closed["all"] == pytest.approx(dict.fromkeys(kinds, 0.25), abs=0.05)
    assert list(report.gap_closed["out-of-domain"]) == ["regression", "mean"]
    assert "closes: regression 2" in markdown(report)


def test_a_kind_in_which_no_teacher_leads_has_no_gap() -> None:
    table = predictions(0)
    beaten = table["model"].eq("teacher") & table["task"].eq("clusters")
    table.loc[beaten, "score"] -= 1

    report = compare("text", {0: table}, TASKS)

    assert "clustering" not in report.gap_closed["all"]
    assert "classification" in report.gap_closed["all"]
    alone = compare("text", {0: table[table["model"] != "teacher"]}, TASKS)
    assert alone.gap_closed["all"] == {}
    assert "gap to the best teacher" not in markdown(alone)


def test_the_same_report_is_written_with_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        report = compare("text", {0: predictions(0), 1: predictions(1)}, TASKS)
        write_quality(report, tmp_path / name)

    for file in ("quality.json", "quality.md"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    tree = json.loads((tmp_path / "one" / "quality.json").read_text("utf-8"))
    assert tree["seeds"] == [0, 1]
    assert set(tree["by_seed"]) == {"0", "1"}


def test_the_page_names_every_model_and_the_gain() -> None:
    page = markdown(compare("text", {0: predictions(0)}, TASKS))

    assert all(f"| {model} |" in page for model in LEVELS)
    assert page.count("| **gain** |") == 3
    assert "gap to the best teacher that distillation closes: classification 2" in page


def test_quality_distils_once_per_seed_and_writes_only_the_results(tmp_path: Path) -> None:
    pytest.importorskip("mteb")
    params = write_project(tmp_path)
    before = set((tmp_path / "artifacts").rglob("*"))

    report = quality(tmp_path, params, "text", seeds=(3, 4))

    assert report.seeds == (3, 4)
    assert list(report.means["all"]) == ["student", "undistilled", "one"]
    assert report.by_seed["3"] != report.by_seed["4"]
    assert (tmp_path / "docs" / "results" / "text" / "quality.json").exists()
    assert (tmp_path / "docs" / "results" / "text" / "quality.md").exists()
    assert set((tmp_path / "artifacts").rglob("*")) == before


def test_quality_reuses_the_trials_of_the_method_comparison(tmp_path: Path) -> None:
    pytest.importorskip("mteb")
    params = write_project(tmp_path)
    methods = compared_methods(params, "text")[:1]
    compare_methods(tmp_path, params, "text", methods=methods, seeds=(3, 4))
    reported: list[str] = []

    report = quality(
        tmp_path,
        params,
        "text",
        seeds=(3, 4),
        progress=lambda what, *_, **__: reported.append(what),
    )

    assert not reported
    assert report.by_seed["3"] != report.by_seed["4"]


def test_a_diverged_student_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("mteb")
    params = write_project(tmp_path)
    guard = params.modality("text").training.guard.model_copy(
        update={"min_variance": 1e9, "max_restarts": 0}
    )
    tree = params.model_dump(mode="json", exclude_unset=True)
    tree["text"]["training"]["guard"] = guard.model_dump()

    with pytest.raises(DivergedError, match=r"^default, seed 3: Training diverged"):
        quality(tmp_path, parse_params(tree), "text", seeds=(3,))


def write_project(root: Path) -> Params:
    """Write a corpus, one task and one teacher's embeddings."""
    kind = MODALITIES.get("text")()
    generator = np.random.default_rng(0)
    texts = ["".join(generator.choice(list("abcdefgh "), 20)) + str(n) for n in range(120)]
    frame = pd.DataFrame({"id": [kind.content_id(text) for text in texts], "text": texts})
    frame["group"] = frame["id"]
    task = frame.assign(
        label=[text.count("a") for text in texts], split=["test", "train", "train"] * 40
    )
    (root / "data").mkdir()
    frame.to_csv(root / "data" / "corpus.csv", index=False)
    task.to_csv(root / "data" / "task.csv", index=False)
    teacher = TEACHERS.get("hashing")(name="one", threads=1, dim=16)
    for part in ("corpus", "benchmark"):
        folder = Layout(root, "text").embeddings(part, "one")
        write_embeddings(folder, root / "work", pack_ids(frame["id"].tolist()), texts, teacher)
    tree = text_params()
    tree["text"].update(
        corpus={"path": "data/corpus.csv", "rows": 120, "held_out": 0.2},
        tasks={"letters": {"kind": "regression", "path": "data/task.csv", "domain": "in"}},
        teachers={"one": {"family": "hashing", "dim": 16}},
        student={"name": "bag-of-bytes", "dim": 8},
    )
    tree["text"]["training"].update(epochs=1, batch_size=32, head_warmup_steps=0)
    params = parse_params(tree)
    store_corpus(root, params)
    return params


def test_quality_needs_the_teachers_embeddings(tmp_path: Path) -> None:
    params = load_params(Path(__file__).parents[2])

    with pytest.raises(MissingDataError, match="dvc repro evaluate@text"):
        quality(tmp_path, params, "text")
