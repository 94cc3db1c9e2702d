from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from polydistill.evaluation.benchmark import run_task
from polydistill.evaluation.rivals.tfidf_svd import COMPONENTS, TfidfSvd, fitted_rows
from tests.evaluation.rivals.rival_tasks import passage_frame, rival_data, task, topic_frame

pytest.importorskip("mteb")


def pairs() -> pd.DataFrame:
    texts = topic_frame()["text"]
    sides = {"text1": texts[:20].tolist(), "text2": texts[20:40].tolist()}
    return pd.DataFrame({"id": [f"pair-{n}" for n in range(20)], **sides, "label": range(20)})


@pytest.mark.parametrize(
    ("kind", "frame", "fitted"),
    [
        ("classification", topic_frame(), topic_frame()["split"] == "train"),
        ("clustering", topic_frame(), np.ones(60, dtype=bool)),
        ("retrieval", passage_frame(), passage_frame()["role"] == "corpus"),
        ("sts", pairs(), np.ones(20, dtype=bool)),
    ],
)
def test_it_is_fitted_without_test_rows_and_queries(
    kind: str, frame: pd.DataFrame, fitted: pd.Series
) -> None:
    assert fitted_rows(task(kind, frame))["id"].tolist() == frame.loc[fitted, "id"].tolist()


def test_embeddings_are_those_of_scikit_learns_pipeline() -> None:
    frame, built = topic_frame(900), task("classification", topic_frame(900))

    encoder = TfidfSvd(rival_data([])).for_task(built)

    assert encoder is not None
    weights = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float32)  # fmt: skip  # noqa: S106
    svd = TruncatedSVD(COMPONENTS, random_state=0)
    svd.fit(weights.fit_transform(frame.loc[frame["split"] == "train", "text"]))
    expected = svd.transform(weights.transform(frame["text"]))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.look_up(frame["text"]), expected, atol=1e-4)


def test_words_tell_topics_apart() -> None:
    built = task("classification", topic_frame())

    assert run_task(TfidfSvd(rival_data([])).for_task(built), built).score > 0.9


def test_a_text_without_known_words_is_counted_as_missing() -> None:
    frame = topic_frame()
    row = frame.index[frame["split"] == "test"][0]
    frame.loc[row, "text"] = "unheard"
    rival = TfidfSvd(rival_data([]))

    encoder = rival.for_task(task("classification", frame))

    assert encoder is not None
    assert not encoder.look_up(["unheard"]).any()
    assert rival.n_missing == 1


def test_a_text_of_several_tasks_is_counted_as_missing_once() -> None:
    frame = topic_frame()
    frame.loc[frame.index[frame["split"] == "test"][0], "text"] = "unheard"
    rival = TfidfSvd(rival_data([]))

    for _ in range(2):  # such as a task and its variant
        rival.for_task(task("classification", frame))

    assert rival.n_missing == 1


def test_a_task_without_words_has_no_score_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    frame = topic_frame().assign(text=[f"{'!' * n}?" for n in range(60)])

    assert TfidfSvd(rival_data([])).for_task(task("classification", frame)) is None
    assert "no score on task toy: empty vocabulary" in caplog.text
