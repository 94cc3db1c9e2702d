"""Distil two text encoders into one small student, search with it, and evaluate all three.

    python examples/text.py

Needs `pip install "polydistill[text,text-teachers]"`. The texts are the docstrings of Python's standard library.
"""

from __future__ import annotations

from docstrings import docstrings

import polydistill

TEST_ROWS = 800
QUERIES = ["delete a folder", "draw a random number", "what day of the week is it"]


def main() -> None:
    """Distil, search, evaluate."""
    rows = docstrings()
    test, corpus = rows[:TEST_ROWS], rows[TEST_ROWS:]

    student = polydistill.distill(corpus, teachers=["minilm-l6", "glove-50d"])
    print(student)

    similarity = student.similarity(student.encode(QUERIES), student.encode(test["text"]))
    for query, row in zip(QUERIES, similarity.argmax(axis=1), strict=True):
        print(f"{query!r} finds {test['text'].iloc[row]!r}")

    test = test.assign(split=["train", "test"] * (TEST_ROWS // 2))
    print(polydistill.evaluate(student, {"topic": {"kind": "classification", "frame": test}}))


if __name__ == "__main__":
    main()
