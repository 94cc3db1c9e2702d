from __future__ import annotations

import math

import numpy as np
import pytest

from polydistill.errors import ParamsError
from polydistill.evaluation.benchmark import run_task
from polydistill.evaluation.rivals import RIVALS, RivalData
from polydistill.evaluation.rivals.bm25 import Bm25
from tests.evaluation.rivals.rival_tasks import passage_frame, rival_data, task, topic_frame

pytest.importorskip("mteb")


def reference(query: str, passage: str, corpus: list[str]) -> float:
    """The formula of Robertson and Zaragoza 2009, term by term, with Lucene's frequencies."""
    tokens = [text.split() for text in corpus]
    mean, found = sum(map(len, tokens)) / len(tokens), passage.split()
    total = 0.0
    for term in query.split():
        n_with = sum(term in one for one in tokens)
        idf = math.log(1 + (len(corpus) - n_with + 0.5) / (n_with + 0.5))
        count = found.count(term)
        total += idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(found) / mean))
    return total


def test_scores_are_those_of_the_formula() -> None:
    frame = passage_frame()
    queries, passages = (frame.loc[frame["role"] == role, "text"].tolist() for role in ("query", "corpus"))  # fmt: skip

    encoder = Bm25(rival_data(frame["text"].tolist())).for_task(task("retrieval", frame))

    assert encoder is not None
    left, right = (encoder.encode([{"text": texts}]) for texts in (queries, passages))
    expected = [[reference(query, passage, passages) for passage in passages] for query in queries]
    np.testing.assert_allclose(encoder.similarity(left, right), expected, rtol=1e-5)
    pairs = encoder.similarity_pairwise(left, right[:2])
    np.testing.assert_allclose(pairs, np.diag(np.array(expected)[:, :2]), rtol=1e-5)


def test_mteb_ranks_with_these_scores() -> None:
    frame = passage_frame()
    built = task("retrieval", frame)

    run = run_task(Bm25(rival_data([])).for_task(built), built)

    assert run.predictions["prediction"].tolist() == ["one", "two"]
    assert run.score == 1.0
    assert run.result["model_name"] == "bm25"


def test_mteb_reranks_with_these_scores() -> None:
    frame = passage_frame().assign(pool=["one", "two", "one", "two", "one"])
    frame.loc[3, "label"] = "two"
    built = task("reranking", frame)

    run = run_task(Bm25(rival_data([])).for_task(built), built)

    assert run.predictions["prediction"].tolist() == ["one", "two"]
    assert run.score == 1.0


def test_passages_without_words_have_no_score_and_are_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    frame = passage_frame()
    frame.loc[frame["role"] == "corpus", "text"] = ["!", "?", "..."]

    assert Bm25(rival_data([])).for_task(task("retrieval", frame)) is None
    assert "bm25 has no score on task toy: empty vocabulary" in caplog.text


def test_other_tasks_have_no_encoder() -> None:
    assert Bm25(rival_data([])).for_task(task("classification", topic_frame())) is None


@pytest.mark.parametrize("name", ["bm25", "tfidf-svd"])
def test_images_are_refused(name: str) -> None:
    data = RivalData(["one"], [b"\x89PNG"], 8, dict)

    with pytest.raises(ParamsError, match=f"{name}.*evaluation.rivals"):
        RIVALS.get(name)(data)
