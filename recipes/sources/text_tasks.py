"""Benchmark tasks of texts: classes, search, ranking and pairs, from three pools of whole groups.

Each pool has one row per group, in a pseudo-random order, and train and test rows. The tasks of a pool share its texts, so
that each text is embedded once for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from polydistill.data.modalities.text import TextModality

TRAIN_ROWS, TEST_ROWS, LEAST_CLASS = 2_500, 1_000, 100
LARGEST_GROUP = 20  # longer chains of near-duplicates are left to the corpus
LEAST_WORDS = 20
"""The number of words that a long description has at least, to be in a task."""
HALVED_WORDS = 40
"""The number of words that a text has at least, to be cut in halves."""
CANDIDATES = 10
TASKS = (
    *("wordnet-lexfile", "wordnet-word"),
    *("debian-section", "debian-section-long", "debian-search", "debian-ranking"),
    *("debian-pairs", "debian-halves"),
    *("foldoc-category", "foldoc-term", "foldoc-halves"),
)
CLASSES = ["id", "text", "label", "group", "split"]
SEARCH = ["id", "text", "label", "group", "role"]
SENTENCE_END = re.compile(r"(?<=[.!?:;])\s+")


def build_tasks(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables of all tasks by name.

    Args:
        rows: The rows of all sources, with the columns `id, text, label, source, origin, words, group, order`.
    """
    sizes = rows["group"].value_counts()
    rows = rows[rows["group"].isin(sizes[sizes <= LARGEST_GROUP].index)].sort_values("order")
    wordnet = _pool(rows[rows["source"] == "wordnet"])
    foldoc = _pool(rows[rows["source"] == "foldoc"])
    short, long = _described(rows)
    by_package = dict(zip(long["words"], long["id"], strict=True))
    short["answer"] = short["words"].map(by_package)
    return {
        "wordnet-lexfile": wordnet[CLASSES],
        "wordnet-word": _words(wordnet),
        "debian-section": short[CLASSES],
        "debian-section-long": long[CLASSES],
        "debian-search": _search(short[short["split"] == "test"], long),
        "debian-ranking": _ranking(short[short["split"] == "test"], long),
        "debian-pairs": _pairs(short, long),
        "debian-halves": _halves(long),
        "foldoc-category": foldoc[CLASSES],
        "foldoc-term": _terms(foldoc),
        "foldoc-halves": _halves(foldoc),
    }


def _pool(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one labelled row per group, in order, up to the wanted numbers of train and test rows."""
    rows = rows[rows["label"].notna()].drop_duplicates("group")
    counts = rows["label"].value_counts()
    rows = rows[rows["label"].isin(counts[counts >= min(LEAST_CLASS, counts.max())].index)]
    share = rows["group"].map(lambda group: int(group[:8], 16) / 2**32)
    is_test = share < TEST_ROWS / (TRAIN_ROWS + TEST_ROWS)
    parts = [
        rows[~is_test].head(TRAIN_ROWS).assign(split="train"),
        rows[is_test].head(TEST_ROWS).assign(split="test"),
    ]
    return pd.concat(parts, ignore_index=True)


def _described(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the short and the long descriptions of the same packages, in the same order."""
    of_packages = rows[rows["source"].isin(["debian", "debian-long"])]
    n_words = of_packages["text"].map(_n_words)
    is_long = (of_packages["source"] == "debian-long") & (n_words >= LEAST_WORDS)
    both = of_packages[is_long]["words"]
    short = of_packages[(of_packages["source"] == "debian") & of_packages["words"].isin(both)]
    short = _pool(short)
    long = of_packages[is_long].set_index("words").loc[short["words"]].reset_index()
    return short, long.assign(**{one: short[one] for one in ("label", "group", "split")})


def _words(wordnet: pd.DataFrame) -> pd.DataFrame:
    """Return a search for a word by its definition; the words of all definitions of the pool are the answers."""
    named = wordnet.assign(label=wordnet["words"].str.partition(",")[0])
    queries = named[named["split"] == "test"]
    answers = named.drop_duplicates("label").assign(text=lambda its: its["label"])
    return _searched(queries, answers)


def _terms(foldoc: pd.DataFrame) -> pd.DataFrame:
    """Return a search for a definition by its term."""
    named = foldoc.assign(label=foldoc["id"])
    queries = named[named["split"] == "test"].assign(text=lambda its: its["words"])
    return _searched(queries.drop_duplicates("text"), named)


def _search(short: pd.DataFrame, long: pd.DataFrame) -> pd.DataFrame:
    """Return a search for a long description by the short one of the same package."""
    return _searched(short.assign(label=short["answer"]), long.assign(label=long["id"]))


def _halves(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a search for the second half of a text by its first half."""
    rows = rows[rows["text"].map(_n_words) >= HALVED_WORDS]
    halves = [_halved(text) for text in rows["text"]]
    rows = rows.assign(label=rows["id"])
    first, second = (rows.assign(text=[half[side] for half in halves]) for side in (0, 1))
    return _searched(first, second)


def _halved(text: str) -> tuple[str, str]:
    """Cut a text at the end of a sentence, as close to its middle as there is one."""
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    inner = [end for end in ends if 0.25 < end / len(text) < 0.75] or [
        text.find(" ", len(text) // 2)
    ]
    cut = min(inner, key=lambda end: abs(end - len(text) / 2))
    return text[:cut].strip(), text[cut:].strip()


def _searched(queries: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Return a table for retrieval, whose ids are those of the contents; an answer is in it once."""
    both = [queries.assign(role="query"), answers.assign(role="corpus")]
    table = pd.concat(both, ignore_index=True)
    table["id"] = [
        _id(f"{role}\n{text}") for role, text in zip(table["role"], table["text"], strict=True)
    ]
    return table.drop_duplicates("id").reset_index(drop=True)[SEARCH]


def _ranking(short: pd.DataFrame, long: pd.DataFrame) -> pd.DataFrame:
    """Return a ranking of candidates for each query: the right long description and those with the most similar words."""
    nearest = _nearest(short["text"].tolist(), long["text"].tolist(), CANDIDATES)
    place = {one: row for row, one in enumerate(long["id"])}
    parts = []
    for number, (_, query) in enumerate(short.iterrows()):
        right = place[query["answer"]]
        others = [row for row in nearest[number] if row != right][: CANDIDATES - 1]
        candidates = long.iloc[[right, *others]]
        pool = str(query["id"])
        parts += [
            pd.DataFrame([query]).assign(label=query["answer"], role="query", pool=pool),
            candidates.assign(label=candidates["id"], role="corpus", pool=pool),
        ]
    table = pd.concat(parts, ignore_index=True)
    keys = zip(table["pool"], table["role"], table["text"], strict=True)
    table["id"] = [_id("\n".join(key)) for key in keys]
    return table[[*SEARCH, "pool"]]


def _pairs(short: pd.DataFrame, long: pd.DataFrame) -> pd.DataFrame:
    """Return pairs of a short and a long description, half of them of two packages with similar words."""
    test = short[short["split"] == "test"]
    nearest = _nearest(test["text"].tolist(), long["text"].tolist(), 2)
    place = {one: row for row, one in enumerate(long["id"])}
    found = []
    for number, (_, row) in enumerate(test.iterrows()):
        right = place[row["answer"]]
        wrong = next(one for one in nearest[number] if one != right)
        for label, other in ((1, right), (0, wrong)):
            text = long["text"].iloc[other]
            found.append((_id(f"{row['text']}\n{text}"), row["text"], text, label, row["group"]))
    return pd.DataFrame(found, columns=["id", "text1", "text2", "label", "group"])


def _nearest(queries: Sequence[str], texts: Sequence[str], n: int) -> np.ndarray:
    """Return the rows of the `n` texts with the most similar words, `(n_queries, n)`, the most similar first."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit(texts)
    similarity = (words.transform(queries) @ words.transform(texts).T).toarray()
    order: np.ndarray = np.argsort(-similarity, axis=1, kind="stable")[:, :n]
    return order


def _n_words(text: str) -> int:
    return len(text.split())


def _id(text: str) -> str:
    return TextModality().content_id(text)
