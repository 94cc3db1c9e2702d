"""Texts under copyleft licences, apart from the default corpus: definitions and quotations of GCIDE.

`corpus.path: data/text*/corpus.parquet` learns from both. A student that learns from texts under the GPL may be bound by it:
the default corpus has none.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from polydistill.contracts import Progress, silent
from polydistill.errors import MissingDataError
from recipes.contracts import BuiltData, Origin, ThirdPartyTask
from recipes.downloads import DebianPackage, fetch_debian, unpack_debian
from recipes.modalities import RECIPES
from recipes.modalities.text import DICTIONARIES, with_groups
from recipes.sources.clusters import mixed_by_cluster
from recipes.sources.dictd import read_gcide

GCIDE = DebianPackage(
    "dict-gcide", "0.48.5+nmu2",
    "7b0af5cfde3cbdef5e9d6e78f92ec335ced7c2790f37a40f49bebc6f7347ac0f",
)  # fmt: skip


@RECIPES.register("text-copyleft")
class CopyleftRecipe:
    """See `contracts.Recipe`. No text is in the corpus or a task of `data/text`, or is a near-duplicate of one of these."""

    notice = (
        "text-copyleft/ is GCIDE, the GNU Collaborative International Dictionary of English, from the Debian package\n"
        f"{GCIDE.name} {GCIDE.version} (sha256 {GCIDE.sha256}): GPL 2 or later. The default corpus does not use it."
    )
    origins: Mapping[str, Origin] = {
        "corpus.parquet": Origin("GCIDE definitions and quotations", "GPL-2.0-or-later")
    }
    third_party_tasks: Mapping[str, ThirdPartyTask] = {}

    def build(
        self,
        downloads: Path,
        folder: Path,
        *,
        refetch: bool = False,  # noqa: ARG002  every source is pinned
        progress: Progress = silent,
    ) -> BuiltData:
        """See `contracts.Recipe.build`.

        Raises:
            MissingDataError: There is no `data/text`, whose texts must not be in this corpus too.
        """
        known = _known(folder.with_name("text"))
        with tempfile.TemporaryDirectory() as scratch:
            archive = fetch_debian(GCIDE, downloads)
            gcide = read_gcide(unpack_debian(archive, Path(scratch) / GCIDE.name) / DICTIONARIES)
        progress("sources", 1, 3)
        rows = with_groups(pd.concat([known, gcide], ignore_index=True))
        progress("near-duplicates", 2, 3)
        rows = rows.drop_duplicates("alike")  # the known texts come first
        corpus = mixed_by_cluster(rows[rows["source"] == "gcide"])
        progress("corpus", 3, 3)
        left_out = {"gcide": {"a near-duplicate": len(gcide) - len(corpus)}}
        return BuiltData({"corpus.parquet": corpus[["text", "source", "group"]]}, {}, left_out)


def _known(folder: Path) -> pd.DataFrame:
    """Return the texts of the default corpus and its tasks."""
    if not (folder / "corpus.parquet").exists():
        raise MissingDataError(
            f"{folder / 'corpus.parquet'} is missing: `dvc pull data.dvc` first."
        )
    found = list[str]()
    for path in [folder / "corpus.parquet", *sorted((folder / "tasks").glob("*.parquet"))]:
        table = pd.read_parquet(path)
        for column in ("text", "text1", "text2"):
            found += table[column].tolist() if column in table else []
    texts = pd.Series(found).drop_duplicates()
    origins = [f"known-{number}" for number in np.arange(len(texts))]
    return pd.DataFrame({"text": texts, "label": None, "source": "known", "origin": origins})
