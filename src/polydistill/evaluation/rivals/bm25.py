"""Okapi BM25, the classical ranking by shared words, for retrieval and reranking."""

import logging
from typing import Any

import numpy as np

from polydistill.evaluation.encoder import ScoreEncoder, model_meta, revision_of
from polydistill.evaluation.rivals import RIVALS, RivalData
from polydistill.evaluation.rivals._texts import WORD, require_texts, texts_of
from polydistill.evaluation.task import BenchmarkTask

LOG = logging.getLogger(__name__)
K1, B = 1.2, 0.75
"""Saturation of the frequency of a term, and the weight of a passage's length."""
KINDS = frozenset({"Retrieval", "Reranking"})
"""mteb's types of tasks in which queries rank passages."""


@RIVALS.register("bm25")
class Bm25:
    """Ranks a task's passages by BM25, whose statistics are those of the passages; it has no score on other tasks.

    References:
        Robertson and Zaragoza 2009, "The probabilistic relevance framework: BM25 and beyond"; the inverse document
        frequency is Lucene's, which is never negative.
    """

    name = "bm25"
    n_missing = 0

    def __init__(self, data: RivalData) -> None:
        require_texts(self.name, data)
        self.revision = revision_of({"rival": self.name, "k1": K1, "b": B, "version": 1})

    @property
    def mteb_model_meta(self) -> Any:
        """See `encoder.Model.mteb_model_meta`."""
        return model_meta(self.name, self.revision)

    def for_task(self, task: BenchmarkTask) -> ScoreEncoder | None:
        """Return the scores of a task's queries and passages; None if it ranks no passages, or none of them has a word."""
        if task.mteb.metadata.type not in KINDS:
            return None
        from sklearn.feature_extraction.text import CountVectorizer

        texts = texts_of(task.source, task.source.frame)
        passages = texts_of(task.source, task.source.rows("role", "corpus"))
        counter = CountVectorizer(token_pattern=WORD, dtype=np.float32)
        try:
            counter.fit(passages.values())
        except ValueError as error:  # an empty vocabulary
            LOG.warning("%s has no score on task %s: %s.", self.name, task.name, error)
            return None
        counts = counter.transform(texts.values())  # a word of queries only adds nothing to a score
        weights = passage_weights(counts, counter.transform(passages.values()))
        return ScoreEncoder(self.name, self.revision, list(texts), counts, weights)


def passage_weights(counts: Any, corpus: Any) -> Any:
    """Return the weight of each term in each text: its product with the counts of a query is the BM25 score.

    Args:
        counts: The number of occurrences of each term in each text, a sparse matrix `(n_texts, n_terms)`.
        corpus: The counts of the passages, which give document frequencies and the mean length.
    """
    import scipy.sparse as sp

    n_passages, frequency = corpus.shape[0], np.asarray((corpus > 0).sum(axis=0)).ravel()
    idf = np.log1p((n_passages - frequency + 0.5) / (frequency + 0.5))
    lengths = np.asarray(counts.sum(axis=1)).ravel() / (corpus.sum() / n_passages)
    weights = sp.coo_matrix(counts, dtype=np.float64)
    saturation = K1 * (1 - B + B * lengths[weights.row])
    weights.data = idf[weights.col] * weights.data * (K1 + 1) / (weights.data + saturation)
    return weights.tocsr().astype(np.float32)
