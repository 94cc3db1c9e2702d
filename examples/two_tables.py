"""Distil two tables of precomputed embeddings, such as those of a paid service.

    python examples/two_tables.py

Needs no extra. scikit-learn computes the tables from the docstrings of Python's standard library; some rows are missing
in one table.
"""

from __future__ import annotations

import numpy as np
from docstrings import docstrings
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

import polydistill

TEST_ROWS = 300


def main() -> None:
    """Distil, then predict a teacher's embeddings of texts that it has never seen."""
    texts = docstrings()["text"]
    test, corpus = texts[:TEST_ROWS], texts[TEST_ROWS:]
    words = make_pipeline(TfidfVectorizer(min_df=2), TruncatedSVD(64, random_state=0))
    letters = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)), TruncatedSVD(64, random_state=0)
    )
    by_words, by_letters = words.fit_transform(corpus), letters.fit_transform(corpus)
    by_letters[::10] = np.nan  # every tenth text was never sent to this service

    student = polydistill.distill(
        corpus,
        teachers=[
            polydistill.Precomputed(by_words, "words"),
            polydistill.Precomputed(by_letters, "letters"),
        ],
    )
    print(student)

    for name, service in (("words", words), ("letters", letters)):
        predicted, actual = student.teacher(name).predict(test), service.transform(test)
        inside = np.abs(actual - predicted.mean) < 1.645 * predicted.std
        similarity = student.similarity(predicted.mean, actual).diagonal().mean()
        print(f"{name}: predicted embeddings have cosine {similarity:.2f} with the service's,")
        print(f"  and {inside.mean():.0%} of the values are in their 90 % intervals")


if __name__ == "__main__":
    main()
