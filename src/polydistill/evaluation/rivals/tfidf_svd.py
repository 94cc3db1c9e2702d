"""Term weights with latent semantic analysis, fitted to each task: what a classical pipeline without any model reaches."""

import logging
from typing import Any

import numpy as np
import pandas as pd

from polydistill.contracts import Embeddings
from polydistill.evaluation.encoder import LookupEncoder, model_meta, revision_of
from polydistill.evaluation.rivals import RIVALS, RivalData
from polydistill.evaluation.rivals._texts import WORD, require_texts, texts_of
from polydistill.evaluation.task import BenchmarkTask

LOG = logging.getLogger(__name__)
COMPONENTS = 256
NGRAMS = (1, 2)
MOST_TERMS = 20_000
"""The number of terms, the most frequent first; nearly all others occur once, and the decomposition would take minutes."""


@RIVALS.register("tfidf-svd")
class TfidfSvd:
    """TF-IDF of words and pairs of words, reduced by a truncated singular value decomposition.

    It is fitted to the training split of a task with a probe; to the corpus of a retrieval task; and to all texts of any
    other task, without labels. A text without known words counts as missing.

    References:
        Deerwester et al. 1990, "Indexing by latent semantic analysis".
    """

    name = "tfidf-svd"

    def __init__(self, data: RivalData) -> None:
        require_texts(self.name, data)
        settings = {"components": COMPONENTS, "ngrams": NGRAMS, "terms": MOST_TERMS}
        self.revision = revision_of({"rival": self.name, **settings, "version": 1})
        self._missing = set[str]()

    @property
    def n_missing(self) -> int:
        """Number of texts without known words in any of the tasks so far; see `encoder.Model`."""
        return len(self._missing)

    @property
    def mteb_model_meta(self) -> Any:
        """See `encoder.Model.mteb_model_meta`."""
        return model_meta(self.name, self.revision)

    def for_task(self, task: BenchmarkTask) -> LookupEncoder | None:
        """Fit the rival to a task and return its embeddings of the task's texts; None if no text has a word."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = texts_of(task.source, task.source.frame)
        weights = TfidfVectorizer(
            ngram_range=NGRAMS,
            token_pattern=WORD,
            sublinear_tf=True,
            max_features=MOST_TERMS,
            dtype=np.float32,
        )
        try:
            fitted = weights.fit_transform(texts_of(task.source, fitted_rows(task)).values())
        except ValueError as error:  # an empty vocabulary
            LOG.warning("%s has no score on task %s: %s.", self.name, task.name, error)
            return None
        terms = weights.transform(texts.values())
        if (width := min(COMPONENTS, *fitted.shape)) < fitted.shape[1]:
            svd = TruncatedSVD(width, random_state=0).fit(fitted)
            values = svd.transform(terms)
        else:
            values = terms.toarray()
        present = np.diff(terms.indptr) > 0
        embeddings = Embeddings(np.asarray(values, dtype=np.float32), present)
        self._missing |= {one for one, known in zip(texts, present, strict=True) if not known}
        return LookupEncoder(self.name, self.revision, list(texts), embeddings)


def fitted_rows(task: BenchmarkTask) -> pd.DataFrame:
    """Return the rows that a rival may be fitted to: those with the split `train` or the role `corpus`, or all."""
    if "train" in task.mteb.dataset:
        return task.source.rows("split", "train")
    if "role" in task.source.frame:
        return task.source.rows("role", "corpus")
    return task.source.frame
