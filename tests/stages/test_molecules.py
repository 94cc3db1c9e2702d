"""Molecules in every stage, and validation failures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from experiments.exports import compare_exports
from polydistill.config.params import Params, parse_params
from polydistill.data.modalities.molecules import MoleculesModality
from polydistill.errors import ParamsError, UnknownNameError, ValidationFailedError
from polydistill.integrations.great_expectations import GreatExpectationsChecker
from polydistill.stages.distill import distill
from polydistill.stages.embed import embed
from polydistill.stages.evaluate import evaluate
from polydistill.stages.validate import validate
from tests.our_params import our_params

pytest.importorskip("great_expectations")
pytest.importorskip("mteb")

RINGS = ["c1ccccc1", "C1CCCC1", "C1CCNCC1", "c1ccncc1", "C1CCOC1", "c1ccsc1", "C1CCCCC1"]
TAILS = ["C", "CC", "CCC", "CO", "CCO", "CN", "ClCC", "FCC"]
CORPUS = [tail + ring for ring in RINGS for tail in TAILS]
CHAINS = ["C" * n + end for n in range(2, 14) for end in ("O", "N", "Cl", "")]


def with_ids(smiles: list[str]) -> pd.DataFrame:
    ids = [MoleculesModality().content_id(one) for one in smiles]
    return pd.DataFrame({"id": ids, "smiles": smiles, "group": [one[:16] for one in ids]})


def boiling() -> pd.DataFrame:
    frame = with_ids(CHAINS)
    frame["label"] = [200.0 + 30 * len(one) for one in CHAINS]
    return frame.assign(split=["train", "train", "test"] * (len(CHAINS) // 3))


def write(root: Path, corpus: pd.DataFrame, task: pd.DataFrame) -> Params:
    (root / "data").mkdir()
    corpus.to_parquet(root / "data/corpus.parquet")
    task.to_parquet(root / "data/boiling.parquet")
    tree = our_params()
    block = tree["molecules"]
    base = {"path": "data/boiling.parquet", "domain": "out"}
    block["tasks"] = {
        "boiling": {**base, "kind": "regression", "label_range": [50, 1500]},
        "boiling-mlp": {**base, "kind": "regression", "probe": "mlp"},
    }
    block["corpus"] = {"path": "data/corpus.parquet", "rows": len(corpus), "held_out": 0.2}
    block["teachers"] = {
        "morgan": {"family": "fingerprint", "kind": "morgan", "dim": 64},
        "maccs": {
            "family": "fingerprint",
            "kind": "maccs",
            "dim": 167,
            "saw_labels_of": ["boiling"],
        },
    }
    block["student"] = {"name": "gine", "layers": 2, "hidden": 32, "dim": 32}
    block["training"] |= {"epochs": 4, "batch_size": 16, "patience": 9}
    tree["threads"], tree["modalities"] = 1, ["molecules"]
    return parse_params(tree)


def refusal(root: Path, corpus: pd.DataFrame, task: pd.DataFrame) -> str:
    params = write(root, corpus, task)
    with pytest.raises(ValidationFailedError) as refused:
        validate(root, params, "molecules", GreatExpectationsChecker(root / "docs"))
    return str(refused.value)


def test_a_run_from_smiles_to_scores(tmp_path: Path) -> None:
    params = write(tmp_path, with_ids(CORPUS), boiling())

    validate(tmp_path, params, "molecules", GreatExpectationsChecker(tmp_path / "docs"))
    for teacher in ("morgan", "maccs"):
        embed(tmp_path, params, "molecules", teacher)
    trained = distill(tmp_path, params, "molecules")
    found = evaluate(tmp_path, params, "molecules")

    assert trained.student_sha256 != trained.undistilled_sha256
    assert found.missing == dict.fromkeys(("student", "undistilled", "morgan", "maccs"), 0)
    assert found.labels_seen == {"boiling": ("maccs",)}
    assert found.scores["student"]["regression"]["boiling"] > 0.8  # the student counts atoms


@pytest.mark.parametrize(
    ("smiles", "because"),
    [
        ("C1CC", "a SMILES is not valid, empty or too long"),
        ("", "a SMILES is not valid, empty or too long"),
        ("C" * 1001, "a SMILES is not valid, empty or too long"),
        ("C" * 500, "a molecule has more than 150 atoms"),
    ],
)
def test_an_invalid_molecule_fails_validation_and_is_named(
    tmp_path: Path, smiles: str, because: str
) -> None:
    message = refusal(tmp_path, with_ids([*CORPUS, smiles]), boiling())

    assert because in message
    assert f"row {len(CORPUS)}" in message
    assert with_ids([smiles])["id"][0] in message


def test_a_boiling_point_of_5869_kelvin_is_refused(tmp_path: Path) -> None:
    task = boiling()
    task.loc[3, "label"] = 5869.0

    message = refusal(tmp_path, with_ids(CORPUS), task)

    assert "a label is outside [50, 1500]" in message
    assert "5869" in message


def test_a_scaffold_on_both_sides_of_a_split_is_refused(tmp_path: Path) -> None:
    task = boiling()
    task.loc[:2, "group"] = "scaffold of three"

    message = refusal(tmp_path, with_ids(CORPUS), task)

    assert "a group is in both splits" in message
    assert "scaffold of three" in message


def with_scaffolds() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a corpus of chains, and a task of rings in which every group and split is that of a ring."""
    task = with_ids(CORPUS)
    ring = [RINGS[place // len(TAILS)] for place in range(len(CORPUS))]
    task = task.assign(group=ring, label=[200.0 + 5 * len(one) for one in CORPUS])
    return with_ids(CHAINS), task.assign(
        split=["test" if one in RINGS[:2] else "train" for one in ring]
    )


def test_validation_computes_scaffolds_and_ignores_edited_groups(tmp_path: Path) -> None:
    corpus, task = with_scaffolds()
    task.loc[3, ["group", "split"]] = ["edited by hand", "train"]  # benzene is in the test part

    message = refusal(tmp_path, corpus, task)

    assert "a group is in both splits" not in message
    assert "boiling: examples with the same split_key are in both splits" in message
    assert f"{len(TAILS)} of {len(CORPUS)} rows" in message
    assert "split_key='scaffold c1ccccc1'" in message
    assert task["id"][0] in message


def test_a_split_by_scaffold_passes_and_so_does_a_declared_split_by_row(tmp_path: Path) -> None:
    corpus, task = with_scaffolds()
    task["random-0"] = ["train", "test"] * (len(task) // 2)
    checker = GreatExpectationsChecker(tmp_path / "docs")
    params = write(tmp_path, corpus, task)
    validate(tmp_path, params, "molecules", checker)

    def with_groups(column: str) -> Params:
        tree = params.model_dump(mode="json")
        for row in tree["molecules"]["tasks"].values():
            row |= {"split": "random-0", "group": column}
        return parse_params(tree)

    validate(tmp_path, with_groups("id"), "molecules", checker)
    with pytest.raises(ValidationFailedError, match="in both splits"):
        validate(tmp_path, with_groups("group"), "molecules", checker)


def test_exports_are_not_compared_without_a_task_that_depends_on_cosine_similarity(
    tmp_path: Path,
) -> None:
    params = write(tmp_path, with_ids(CORPUS), boiling())

    with pytest.raises(
        ParamsError, match="'molecules' must have a task that depends on cosine sim"
    ):
        compare_exports(tmp_path, params, "molecules")
    with pytest.raises(UnknownNameError, match="task kind 'sts'"):
        compare_exports(tmp_path, params, "molecules", kinds=["sts"])


def test_a_salt_of_a_corpus_molecule_is_not_a_benchmark_example(tmp_path: Path) -> None:
    task = boiling()
    task.loc[0, "smiles"] = "[O-]Cc1ccccc1.[Na+]"

    message = refusal(tmp_path, with_ids([*CORPUS, "OCc1ccccc1"]), task)

    assert "a benchmark example is in the corpus" in message
