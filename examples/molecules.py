"""Distil fingerprints of molecules into one graph network, and predict an assay with it.

    python examples/molecules.py

Needs `pip install "polydistill[molecules]"`. The data come with RDKit: the corpus contains compounds of the National Cancer
Institute, and the task is a series from ChEMBL with measured activities.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rdkit import RDConfig

import polydistill

CORPUS = Path(RDConfig.RDDataDir, "NCI", "first_5K.smi")
SERIES = Path(RDConfig.RDContribDir, "FreeWilson", "data", "CHEMBL2321810.smi")
ACTIVITIES = SERIES.with_name("CHEMBL2321810_act.csv")
CORPUS_ROWS = 1000


def main() -> None:
    """Distil, find similar molecules, evaluate."""
    corpus = pd.read_csv(CORPUS, sep="\t", names=["smiles", "number"]).head(CORPUS_ROWS)

    student = polydistill.distill(
        corpus,
        teachers=["morgan", "maccs", "rdkit-2d"],
        modality="molecules",
        settings={"training": {"epochs": 4}},
    )
    print(student)

    aspirin = "CC(=O)Oc1ccccc1C(=O)O"
    similarity = student.similarity(student.encode([aspirin]), student.encode(corpus["smiles"]))
    print("most similar to aspirin:", *corpus["smiles"].iloc[similarity[0].argsort()[::-1][:3]])

    series = pd.read_csv(SERIES, sep=" ", names=["smiles", "Name"])
    series = series.merge(pd.read_csv(ACTIVITIES)).rename(columns={"Act": "label"})
    print(polydistill.evaluate(student, {"activity": {"kind": "regression", "frame": series}}))


if __name__ == "__main__":
    main()
