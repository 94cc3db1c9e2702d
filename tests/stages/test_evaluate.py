from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from polydistill.config.overrides import changed, only_teachers
from polydistill.config.params import Params, parse_params
from polydistill.data.ids import pack_ids
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import benchmark_inputs, read_tasks
from polydistill.embeddings.extraction import write_embeddings
from polydistill.errors import DataError, MissingDataError, StoreError, UnknownNameError
from polydistill.evaluation.mteb_results import read_metric
from polydistill.evaluation.predictions import read_predictions
from polydistill.project.layout import Layout
from polydistill.project.reports import read_report
from polydistill.stages.evaluate import evaluate
from polydistill.students import STUDENTS
from polydistill.teachers import TEACHERS
from tests.our_params import text_params
from tests.stored_corpus import store_corpus

pytest.importorskip("mteb")

WORDS = {"animal": "cat dog horse", "tool": "hammer saw drill", "sky": "cloud rain star"}
MODELS = ["student", "undistilled", "one", "two"]
TASKS: dict[str, dict[str, Any]] = {
    "topics": {"kind": "classification", "path": "data/topics.csv", "domain": "in"},
    "topic-clusters": {"kind": "clustering", "path": "data/topics.csv", "domain": "in"},
    "lengths": {"kind": "regression", "path": "data/lengths.csv", "domain": "out"},
    "pairs": {"kind": "sts", "path": "data/pairs.csv", "domain": "out"},
    "borrowed": {
        "kind": "sts",
        "path": "artifacts/text/local/borrowed.csv",
        "domain": "out",
        "redistributable": False,
    },
}


def make_params(**changes: Any) -> Params:
    tree = text_params()
    tree["text"].update(
        tasks=TASKS,
        teachers={name: {"family": "hashing", "dim": 16} for name in ("one", "two")},
        student={"name": "bag-of-bytes", "dim": 8},
        **{"evaluation": {"seeds": [0, 1], "rivals": []}, **changes},
    )
    return parse_params(tree)


def write_tasks(root: Path) -> None:
    generator = np.random.default_rng(0)
    rows = []
    for number in range(90):
        topic = sorted(WORDS)[number % 3]
        text = " ".join([*generator.choice(WORDS[topic].split(), 3), f"n{number}"])
        split = "test" if number % 4 == 0 else "train"
        rows.append({"id": f"row-{number}", "text": text, "label": topic, "group": number, "split": split})  # fmt: skip
    topics = pd.DataFrame(rows)
    lengths = topics.assign(label=[text.count("o") + 0.1 for text in topics["text"]])
    pairs = pd.DataFrame(
        {
            "id": [f"pair-{n}" for n in range(30)],
            "text1": topics["text"][:30],
            "text2": topics["text"][30:60].to_numpy(),
            "label": generator.normal(size=30),
        }
    )
    (root / "data").mkdir()
    for name, frame in (("topics", topics), ("lengths", lengths), ("pairs", pairs)):
        frame.to_csv(root / "data" / f"{name}.csv", index=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with hashing teachers and bag-of-bytes students."""
    params, layout, kind = make_params(), Layout(tmp_path, "text"), MODALITIES.get("text")()
    write_tasks(tmp_path)
    inputs = benchmark_inputs(
        read_tasks(tmp_path, params.modality("text").tasks, kind),
        params.modality("text").tasks,
        kind,
    )
    for name in ("one", "two"):
        write_embeddings(
            layout.embeddings("benchmark", name),
            tmp_path / "work",
            pack_ids(inputs["id"].tolist()),
            inputs["text"].tolist(),
            TEACHERS.get("hashing")(name=name, threads=1, dim=16),
        )
    for seed, folder in enumerate((layout.student, layout.undistilled)):
        generator = torch.Generator().manual_seed(seed)
        STUDENTS.get("bag-of-bytes").build([], generator, dim=8).save(folder)
    return tmp_path


def outputs(root: Path) -> dict[str, bytes]:
    layout = Layout(root, "text")
    files = [layout.predictions, layout.scores, layout.slices, *sorted(layout.mteb.rglob("*.json"))]
    return {str(file.relative_to(root)): file.read_bytes() for file in files}


def test_every_model_is_scored_on_every_available_task(project: Path) -> None:
    report = evaluate(project, make_params(), "text")

    scores = read_report(Layout(project, "text").scores, "evaluate")
    assert list(scores) == MODELS == list(report.models)
    for by_kind in scores.values():
        assert {kind: list(tasks) for kind, tasks in by_kind.items()} == {
            "classification": ["topics"],
            "clustering": ["topic-clusters"],
            "regression": ["lengths"],
            "sts": ["pairs"],
        }
    assert all(
        score == round(score, 4)
        for kinds in scores.values()
        for tasks in kinds.values()
        for score in tasks.values()
    )
    assert scores["one"]["classification"]["topics"] > 0.9


def test_the_embeddings_of_a_disabled_teacher_are_moved_aside(project: Path) -> None:
    params, layout = make_params(), Layout(project, "text")

    report = evaluate(project, changed(params, only_teachers(params, "text", ["one"])), "text")

    assert report.models == ("student", "undistilled", "one")
    assert not layout.embeddings("benchmark", "two").exists()
    assert layout.embedding_work("benchmark", "two").exists()


def test_a_second_run_writes_the_same_bytes(project: Path) -> None:
    evaluate(project, make_params(), "text")
    before = outputs(project)

    evaluate(project, make_params(), "text")

    assert outputs(project) == before
    assert len(before) == 3 + 5 * len(
        MODELS
    )  # of each model its metadata and the results of four tasks


def test_scores_are_the_means_of_the_predictions(project: Path) -> None:
    report = evaluate(project, make_params(), "text")

    table = pd.read_parquet(Layout(project, "text").predictions)
    means = table.groupby(["model", "task"])["score"].mean()
    assert list(table) == [
        "task",
        "variant",
        "example",
        "seed",
        "model",
        "prediction",
        "target",
        "score",
    ]
    assert len(table) == report.n_predictions
    for model, kinds in report.scores.items():
        for tasks in kinds.values():
            for task, score in tasks.items():
                assert means[model, task] == pytest.approx(score, abs=5.1e-5)


def test_each_example_of_each_model_has_one_row_per_seed(project: Path) -> None:
    evaluate(project, make_params(), "text")

    table = pd.read_parquet(Layout(project, "text").predictions)
    assert not table.duplicated(["task", "example", "seed", "model"]).any()
    assert table.groupby("task")["model"].value_counts().groupby("task").nunique().eq(1).all()


def test_a_missing_third_party_task_is_skipped_and_reported(project: Path) -> None:
    report = evaluate(project, make_params(), "text")

    assert report.skipped == {"borrowed": "the fetch-data stage has not run"}


def test_a_missing_own_task_is_an_error(project: Path) -> None:
    (project / "data" / "pairs.csv").unlink()

    with pytest.raises(MissingDataError, match=r"pairs\.csv"):
        evaluate(project, make_params(), "text")


def test_a_run_without_any_task_is_an_error(project: Path) -> None:
    params = make_params()
    only = params.modality("text").model_copy(
        update={"tasks": {"borrowed": params.modality("text").tasks["borrowed"]}}
    )

    with pytest.raises(DataError, match="At least one task"):
        evaluate(project, params.model_copy(update={"text": only}), "text")


def test_only_the_requested_models_are_scored(project: Path) -> None:
    report = evaluate(project, make_params(), "text", models=("student",))

    assert report.models == ("student",)
    assert set(pd.read_parquet(Layout(project, "text").predictions)["model"]) == {"student"}


def test_an_unknown_model_is_refused(project: Path) -> None:
    with pytest.raises(UnknownNameError, match="Unknown model 'studnet'. Did you mean 'student'"):
        evaluate(project, make_params(), "text", models=("studnet",))


def test_a_missing_student_is_an_error(project: Path) -> None:
    (Layout(project, "text").student / "student.json").unlink()

    with pytest.raises(MissingDataError, match="distill stage"):
        evaluate(project, make_params(), "text")


def test_inputs_without_teacher_embeddings_are_an_error(project: Path) -> None:
    frame = pd.read_csv(project / "data" / "pairs.csv")
    frame.loc[0, "text1"] = "something new"
    frame.to_csv(project / "data" / "pairs.csv", index=False)

    with pytest.raises(StoreError, match="lacks 1 of .*embed stage"):
        evaluate(project, make_params(), "text")


def test_a_result_contains_the_digest_of_the_weights(project: Path) -> None:
    evaluate(project, make_params(), "text")

    layout = Layout(project, "text")
    result, teacher = (
        json.loads(
            next(layout.mteb.glob(f"results/polydistill__{name}/*/topics.json")).read_bytes()
        )
        for name in ("student", "one")
    )
    from polydistill.students import weights_digest

    assert result["model_revision"] == weights_digest(layout.student)
    assert len(teacher["model_revision"]) == 64 != teacher["model_revision"]


def test_no_unfinished_file_is_left(project: Path) -> None:
    layout = Layout(project, "text")
    (layout.mteb / "retired-teacher").mkdir(parents=True)

    evaluate(project, make_params(), "text")

    assert not layout.work("evaluate", "text").exists()
    names = [path.name.removeprefix("polydistill__") for path in layout.mteb.glob("*/*")]
    assert sorted(names) == sorted(MODELS)


def test_progress_ends_at_its_total(project: Path) -> None:
    reported: dict[str, list[tuple[int, int]]] = {}

    def record_progress(what: str, done: int, total: int, **figures: float) -> None:
        reported.setdefault(what, []).append((done, total))

    evaluate(project, make_params(), "text", progress=record_progress)

    assert len(reported) == 4
    assert all(steps == [(n, 4) for n in range(1, 5)] for steps in reported.values())


def with_slices() -> Params:
    tasks = {name: {**task} for name, task in TASKS.items()}
    for name in ("topics", "pairs"):
        tasks[name]["perturb"] = ["typos", "case"]
    tree = text_params()
    tree["text"].update(
        tasks=tasks,
        teachers={"one": {"family": "hashing", "dim": 16}},
        student={"name": "bag-of-bytes", "dim": 8},
        evaluation={"models": ["student", "undistilled"]},
    )
    return parse_params(tree)


def test_perturbed_texts_are_scored_as_slices_and_change_no_score(project: Path) -> None:
    plain = evaluate(project, make_params(), "text", models=("student", "undistilled"))
    layout = Layout(project, "text")
    assert json.loads(layout.slices.read_bytes()) == {}

    report = evaluate(project, with_slices(), "text")

    slices = read_slices(layout)
    for model in ("student", "undistilled"):
        assert {task: list(scores) for task, scores in slices[model].items()} == {
            "topics": ["typos", "case"],
            "pairs": ["typos", "case"],
        }
        same = ("classification", "regression", "sts")
        assert {kind: report.scores[model][kind] for kind in same} == {
            kind: plain.scores[model][kind] for kind in same
        }
    assert (
        slices["student"]["topics"]["case"] < report.scores["student"]["classification"]["topics"]
    )


def test_predictions_of_slices_are_read_only_on_request(project: Path) -> None:
    evaluate(project, with_slices(), "text")

    path = Layout(project, "text").predictions
    table, typos = read_predictions(path), read_predictions(path, "typos")
    assert set(table["task"]) == {"topics", "topic-clusters", "lengths", "pairs"}
    assert set(typos["task"]) == {"topics", "pairs"}
    for frame in (table, typos):
        assert "variant" not in frame
        assert not frame.duplicated(["task", "example", "seed", "model"]).any()
    means = typos.groupby(["model", "task"])["score"].mean()
    for model, by_task in read_slices(Layout(project, "text")).items():
        for task, scores in by_task.items():
            assert scores["typos"] == pytest.approx(means[model, task], abs=5.1e-5)
    assert set(typos["example"]) < set(table["example"])


def read_slices(layout: Layout) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = json.loads(layout.slices.read_bytes())
    return found


def test_tasks_with_few_test_examples_are_listed(project: Path) -> None:
    report = evaluate(project, make_params(), "text", models=("student",))

    assert report.n_test == {"topics": 23, "topic-clusters": 90, "lengths": 23, "pairs": 30}
    assert report.too_few_rows == ("topics", "topic-clusters", "lengths", "pairs")


def test_mteb_reads_the_results_and_makes_its_table(project: Path) -> None:
    import mteb

    report = evaluate(project, make_params(), "text")

    layout = Layout(project, "text")
    before = outputs(project)
    table = mteb.ResultCache(layout.mteb).load_results().to_dataframe().set_index("task_name")
    assert {f"polydistill/{model}" for model in MODELS} == set(table) - {"is_public"}
    for model in MODELS:
        scores = {
            task: score for tasks in report.scores[model].values() for task, score in tasks.items()
        }
        assert table[f"polydistill/{model}"].to_dict() == pytest.approx(scores, abs=5.1e-5)
    assert outputs(project) == before


def test_a_metric_is_read_by_model_and_task(project: Path) -> None:
    report = evaluate(project, make_params(), "text")

    found = read_metric(Layout(project, "text").mteb, "cosine_spearman")

    assert list(found) == sorted(MODELS)
    assert found["one"] == {
        "pairs": pytest.approx(report.scores["one"]["sts"]["pairs"], abs=5.1e-5)
    }
    assert not read_metric(Layout(project, "text").mteb, "recall_at_10")


RIVALS = {"seeds": [0], "rivals": ["tfidf-svd", "bm25", "teachers-pca"]}


def write_corpus(root: Path, params: Params) -> None:
    """Store a corpus and the teachers' embeddings of it."""
    frame = pd.DataFrame({"text": [f"text {n} of the corpus" for n in range(30)]})
    path = root / params.modality("text").corpus.path
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = MODALITIES.get("text")()
    frame.insert(0, "id", [kind.content_id(text) for text in frame["text"]])
    frame.to_parquet(path)
    store_corpus(root, params)
    for name in ("one", "two"):
        write_embeddings(
            Layout(root, "text").embeddings("corpus", name),
            root / "work",
            pack_ids(frame["id"].tolist()),
            frame["text"].tolist(),
            TEACHERS.get("hashing")(name=name, threads=1, dim=16),
        )


def rival_params(**changes: Any) -> Params:
    corpus = {"path": "data/corpus.parquet", "held_out": 0.1}
    return make_params(corpus=corpus, evaluation=RIVALS, **changes)


def test_rivals_are_scored_on_the_same_rows(project: Path) -> None:
    params = rival_params(rivals={"other": {"family": "hashing", "dim": 16}})
    write_corpus(project, params)
    layout = Layout(project, "text")
    shutil.copytree(layout.embeddings("benchmark", "one"), layout.embeddings("benchmark", "other"))

    report = evaluate(project, params, "text")

    assert report.models == (*MODELS, "other", "tfidf-svd", "teachers-pca")  # no task for bm25
    assert report.scores["other"] == report.scores["one"]
    assert report.scores["tfidf-svd"]["classification"]["topics"] > 0.9
    assert report.scores["teachers-pca"]["classification"]["topics"] > 0.5  # in eight dimensions
    table = pd.read_parquet(layout.predictions)
    for _, rows in table.groupby("task"):
        scored = rows.groupby("model")["example"].agg(lambda ids: " ".join(sorted(ids)))
        assert scored.nunique() == 1


def test_rivals_are_fitted_to_the_same_numbers_again(project: Path) -> None:
    params = rival_params()
    write_corpus(project, params)
    evaluate(project, params, "text")
    before = outputs(project)

    evaluate(project, params, "text")

    assert outputs(project) == before


def test_a_rival_without_embeddings_is_left_out_and_reported(project: Path) -> None:
    params = make_params(rivals={"other": {"family": "hashing", "dim": 16}})
    note = Layout(project, "text").unavailable("other")
    note.parent.mkdir(parents=True)
    note.write_text('{"reason": "no network"}')

    report = evaluate(project, params, "text")

    assert report.models == tuple(MODELS)
    assert report.unavailable == {"other": "no network"}
    assert note.exists()


def test_a_rival_whose_stage_has_not_run_is_an_error(project: Path) -> None:
    params = make_params(rivals={"other": {"family": "hashing", "dim": 16}})

    with pytest.raises(StoreError, match="other"):
        evaluate(project, params, "text")


def test_a_rivals_labels_seen_do_not_count(project: Path) -> None:
    row = {"family": "hashing", "dim": 16, "saw_labels_of": ["topics"]}

    assert make_params(rivals={"other": row}).labels_seen("text") == {}
