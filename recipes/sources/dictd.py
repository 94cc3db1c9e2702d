"""Read dictionaries in dictd's format: an index of headwords, and the entries in one compressed file."""

from __future__ import annotations

import gzip
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

DIGITS = {
    digit: value
    for value, digit in enumerate(
        string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    )
}
CATEGORY = re.compile(r"^<([^>]+)>\s*")
CROSS_REFERENCE = re.compile(r"\{([^{}]*)\}")
DATE = re.compile(r"\s*\(\d{4}-\d{2}-\d{2}\)\s*$")
ORIGIN = re.compile(r"\[[^\[\]]*\]")
WEBSTER = re.compile(r"\[(?:1913 Webster|PJC|WordNet[^\]]*|Webster[^\]]*|Century[^\]]*)[^\]]*\]")
SENSE = re.compile(r"^ {3}(?:\d+|\([a-z]\))\. ?", re.MULTILINE)
LEAST_WORDS, MOST_WORDS = 3, 300


def read_entries(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    """Yield the headword and the body of each entry of a dictionary.

    Args:
        folder: The folder of the dictionary's two files.
        name: Their name without suffix.
    """
    with gzip.open(folder / f"{name}.dict.dz") as packed:
        content = packed.read()
    places = set()
    for line in (folder / f"{name}.index").read_text(encoding="utf-8").splitlines():
        word, start, length = line.split("\t")
        if word.startswith("00-database") or (start, length) in places:
            continue
        places.add((start, length))
        first = _number(start)
        entry = content[first : first + _number(length)].decode("utf-8", "replace")
        head, _, body = entry.strip("\n").partition("\n")
        yield head.strip(), body


def _number(digits: str) -> int:
    value = 0
    for digit in digits:
        value = value * 64 + DIGITS[digit]
    return value


def read_foldoc(folder: Path) -> pd.DataFrame:
    """Return the definitions of FOLDOC that have at least three words, with their first category as the label."""
    found = []
    for word, body in read_entries(folder, "foldoc"):
        text = " ".join(body.split())
        category = CATEGORY.match(text)
        text = CATEGORY.sub("", text)
        text = ORIGIN.sub("", DATE.sub("", CROSS_REFERENCE.sub(r"\1", text)))
        words = text.split()[:MOST_WORDS]
        if len(words) >= LEAST_WORDS:
            label = category[1].split(",")[0].strip() if category else None
            found.append((" ".join(words), label, "foldoc", f"foldoc-{word}", word))
    return pd.DataFrame(found, columns=["text", "label", "source", "origin", "words"])


def read_gcide(folder: Path) -> pd.DataFrame:
    """Return the numbered senses and the quotations of GCIDE as one text each, without marks of their source."""
    found = []
    for word, body in read_entries(folder, "gcide"):
        text = re.sub(r"^.*?\n(?= {3})", "", CROSS_REFERENCE.sub(r"\1", body), count=1)
        for sense in SENSE.split(WEBSTER.sub("", text)):
            for part in re.split(r"\n\s*\n", sense):
                words = re.sub(r"\s--\s?[A-Z].*$", "", " ".join(part.split())).split()
                if LEAST_WORDS <= len(words) <= MOST_WORDS:
                    found.append((" ".join(words), None, "gcide", f"gcide-{word}", word))
    return pd.DataFrame(found, columns=["text", "label", "source", "origin", "words"])
