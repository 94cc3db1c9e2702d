from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from polydistill.contracts import Embeddings
from polydistill.errors import DataError
from polydistill.evaluation.benchmark import TaskRun, run_task
from polydistill.evaluation.encoder import LookupEncoder
from polydistill.evaluation.task import TaskSource
from polydistill.evaluation.tasks import BENCHMARKS

pytest.importorskip("mteb")

N, TOPICS, DIM = 240, 4, 12
KINDS = BENCHMARKS.names()
RANKINGS = ("reranking", "retrieval")
Vectors = NDArray[np.float64]


def rows(kind: str) -> pd.DataFrame:
    """A task whose labels are a function of the hidden vectors that `perfect` returns."""
    numbers = np.arange(N)
    split = np.where(numbers % 3 == 0, "test", "train")
    frame = pd.DataFrame({"id": [f"row-{n}" for n in numbers], "group": numbers, "split": split})
    if kind == "sts":
        one, two = perfect()[numbers], perfect()[(numbers * 7 + 3) % N]
        cosines = (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
        texts = {"text1": [f"text {n}" for n in numbers], "text2": [f"text {n}" for n in (numbers * 7 + 3) % N]}  # fmt: skip
        return frame.drop(columns=["group", "split"]).assign(**texts, label=cosines)
    if kind == "pair-classification":
        other = np.where(numbers < N // 2, (numbers + TOPICS) % N, (numbers + 1) % N)
        texts = {"text1": [f"text {n}" for n in numbers], "text2": [f"text {n}" for n in other]}
        return frame.drop(columns=["group", "split"]).assign(**texts, label=np.where(numbers < N // 2, "1", "0"))  # fmt: skip
    frame["text"] = [f"text {n}" for n in numbers]
    if kind == "regression":
        directions = perfect() / np.linalg.norm(perfect(), axis=1, keepdims=True)
        return frame.assign(label=directions @ np.linspace(-1, 1, DIM))
    if kind == "binary-classification":
        return frame.assign(label=[f"{n % 2}" for n in numbers])
    if kind in RANKINGS:
        frame = frame.assign(role=np.where(numbers % 3 == 0, "query", "corpus"))
        frame["pool"] = numbers // 24
    return frame.assign(label=[f"topic {n % TOPICS}" for n in numbers])


def perfect() -> Vectors:
    generator = np.random.default_rng(0)
    return np.asarray(np.eye(TOPICS, DIM)[np.arange(N) % TOPICS] * 4 + generator.normal(scale=0.3, size=(N, DIM)))  # fmt: skip


def random() -> Vectors:
    return np.random.default_rng(1).normal(size=(N, DIM))


def constant() -> Vectors:
    return np.ones((N, DIM))


def run(kind: str, vectors: Vectors, seeds: tuple[int, ...] = (0,)) -> TaskRun:
    embeddings = Embeddings(vectors.astype(np.float32), np.ones(N, dtype=np.bool_))
    ids = [f"text {n}" for n in range(N)]
    task = BENCHMARKS.get(kind)(TaskSource("toy", rows(kind), "text", str, seeds))
    return run_task(LookupEncoder("toy-model", "abc", ids, embeddings), task)


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_that_contain_the_labels_score_near_one(kind: str) -> None:
    assert run(kind, perfect()).score > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_random_embeddings_score_near_chance(kind: str) -> None:
    chances = {"binary-classification": 0.5, "pair-classification": 0.5}
    chances |= {"classification": 1 / TOPICS, "retrieval": 1 / TOPICS}
    chances["reranking"] = 0.37  # four relevant candidates among 16 in random order
    chance = chances.get(kind, 0.0)

    assert run(kind, random()).score == pytest.approx(chance, abs=0.15)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:An input array is constant", "ignore:Number of distinct")
def test_constant_embeddings_have_a_finite_score(kind: str) -> None:
    assert np.isfinite(run(kind, constant()).score)


@pytest.mark.parametrize("kind", KINDS)
def test_the_main_score_is_the_mean_over_examples(kind: str) -> None:
    found = run(kind, perfect() + random(), seeds=(3, 4))

    assert found.predictions["score"].mean() == pytest.approx(found.score, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_every_test_example_has_one_prediction_per_seed(kind: str) -> None:
    predictions = run(kind, perfect(), seeds=(3, 4)).predictions

    frame = rows(kind)
    whole = {"clustering", "pair-classification", "sts"}
    tested = frame if kind in whole else frame[frame["split"] == "test"]
    if kind in RANKINGS:
        tested = frame[frame["role"] == "query"]
    for _, of_seed in predictions.groupby("seed"):
        assert of_seed["example"].tolist() == tested["id"].tolist()
    assert predictions["seed"].isin([3, 4]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_gives_the_same_result_twice(kind: str) -> None:
    first, second = (run(kind, perfect() + random()) for _ in range(2))

    assert json.dumps(first.result, sort_keys=True) == json.dumps(second.result, sort_keys=True)
    pd.testing.assert_frame_equal(first.predictions, second.predictions)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_embedding_does_not_matter(kind: str) -> None:
    order = np.random.default_rng(5).permutation(N)
    vectors = (perfect() + random()).astype(np.float32)
    embeddings = Embeddings(vectors[order], np.ones(N, dtype=np.bool_))
    task = BENCHMARKS.get(kind)(TaskSource("toy", rows(kind), "text", str))

    shuffled = run_task(
        LookupEncoder("toy-model", "abc", [f"text {n}" for n in order], embeddings), task
    )

    assert shuffled.score == run(kind, vectors.astype(np.float64)).score


@pytest.mark.parametrize("kind", KINDS)
def test_one_task_can_score_many_models(kind: str) -> None:
    task = BENCHMARKS.get(kind)(TaskSource("toy", rows(kind), "text", str))
    present, ids = np.ones(N, dtype=np.bool_), [f"text {n}" for n in range(N)]

    scores = [
        run_task(LookupEncoder("m", "r", ids, Embeddings(v.astype(np.float32), present)), task)
        for v in (perfect(), random(), perfect())
    ]

    assert scores[0].score == scores[2].score > scores[1].score


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_has_model_and_revision_and_no_time(kind: str) -> None:
    from mteb.results import TaskResult

    result = run(kind, perfect()).result

    assert (result["model_name"], result["model_revision"]) == ("toy-model", "abc")
    assert result["evaluation_time"] is None
    assert {"date", "evaluation_phases", "kg_co2_emissions"}.isdisjoint(result)
    assert TaskResult.model_validate(result).task_name == "toy"


@pytest.mark.parametrize("kind", KINDS)
def test_the_revision_of_a_task_depends_on_its_rows(kind: str) -> None:
    frame = rows(kind)

    revision = TaskSource("toy", frame, "text", str).revision

    assert revision == TaskSource("toy", frame.copy(), "text", str).revision
    assert revision != TaskSource("toy", frame.iloc[::-1], "text", str).revision
    assert revision != TaskSource("toy", frame.assign(label=0), "text", str).revision


@pytest.mark.parametrize("kind", ["binary-classification", "classification", "regression"])
@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.assign(split="test"),
        lambda frame: frame.assign(split="train"),
        lambda frame: frame.drop(columns="split"),
    ],
)
def test_a_probe_without_both_splits_is_refused(
    kind: str, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    with pytest.raises(DataError, match="split"):
        BENCHMARKS.get(kind)(TaskSource("toy", change(rows(kind)), "text", str))


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_and_texts_have_the_same_score(kind: str) -> None:
    vectors = perfect() + random()
    frame = rows(kind)
    shown = [column for column in map(str, frame) if column.startswith("text")]
    images = frame.assign(**{column: frame[column].map(str.encode) for column in shown})
    embeddings = Embeddings(vectors.astype(np.float32), np.ones(N, dtype=np.bool_))
    encoder = LookupEncoder("toy-model", "abc", [f"text {n}" for n in range(N)], embeddings)
    source = TaskSource("toy", images, "text", bytes.decode)

    found = run_task(encoder, BENCHMARKS.get(kind)(source))

    expected = run(kind, vectors)
    assert found.score == expected.score
    pd.testing.assert_frame_equal(found.predictions, expected.predictions)
    changed = images.assign(**{shown[0]: [b"another", *images[shown[0]][1:]]})
    assert TaskSource("toy", changed, "text", bytes.decode).revision != source.revision


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_receives_content_ids(kind: str) -> None:
    class Recorder(LookupEncoder):
        seen: set[str]

        def look_up(self, ids: Iterable[str]) -> NDArray[np.float32]:
            asked = list(ids)
            self.seen.update(asked)
            return super().look_up(asked)

    names = [f"id of text {n}" for n in range(N)]
    vectors = Embeddings(perfect().astype(np.float32), np.ones(N, dtype=np.bool_))
    encoder = Recorder("toy-model", "abc", names, vectors)
    encoder.seen = set()

    run_task(
        encoder, BENCHMARKS.get(kind)(TaskSource("toy", rows(kind), "text", "id of {}".format))
    )

    assert encoder.seen == set(names)
