from __future__ import annotations

import pandas as pd
import pytest

from polydistill.data.smiles import MAX_ATOMS, parent_smiles, scaffold_smiles
from recipes.modalities.molecules import kept_molecules, make_corpus, make_task

RINGS = ["c1ccccc1", "C1CCCC1", "C1CCNCC1", "c1ccncc1", "c1ccc2ccccc2c1", "C1CCOC1", "c1ccsc1"]
TAILS = ["", "C", "CC", "CO", "CCl", "CCC", "CCO", "CN", "CCN", "CF"]
MOLECULES = [tail + ring for ring in RINGS for tail in TAILS]


def table(smiles: list[str], labels: list[object] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"smiles": smiles, "label": labels or list(range(len(smiles)))})


def test_invalid_too_large_and_mixed_molecules_are_dropped_and_counted() -> None:
    given = table(["OCC", "C1CC", "C" * (MAX_ATOMS + 1), "CC(=O)[O-].[Na+]"])

    kept, left_out = kept_molecules(given, single=True)

    assert kept["smiles"].tolist() == ["CCO"]
    assert left_out == {"invalid: C1CC": 1, "too large": 1, "mixture": 1}


def test_a_group_is_a_scaffold_or_a_compound_without_rings() -> None:
    kept, _ = kept_molecules(table(["CCc1ccccc1", "Oc1ccccc1", "CCO", "CCN"]), single=True)

    assert kept["group"].nunique() == 3
    assert kept["group"][0] == kept["group"][1]


def test_labels_out_of_range_are_dropped_and_duplicates_get_their_median() -> None:
    kept, left_out = kept_molecules(
        table(["CCO", "OCC", "C(C)O", "CCN", "CCC"], [350.0, 352.0, 360.0, 5869.0, 231.0]),
        single=True,
    )

    task = make_task(kept, (50, 1500), left_out)

    assert dict(zip(task["smiles"], task["label"], strict=True)) == {"CCO": 352.0, "CCC": 231.0}
    assert left_out["out of range"] == 1
    assert left_out["duplicate"] == 2


def test_a_compound_with_two_classes_is_dropped() -> None:
    kept, left_out = kept_molecules(table(["CCO", "OCC", "CCN"], ["a", "b", "a"]), single=True)

    assert make_task(kept, None, left_out)["smiles"].tolist() == ["CCN"]


@pytest.mark.parametrize("seed", range(5))
def test_no_scaffold_is_in_both_parts_of_a_split(seed: int) -> None:
    kept, left_out = kept_molecules(table(MOLECULES), single=True)

    task = make_task(kept, (0, 100), left_out)

    scaffolds = task["smiles"].map(scaffold_smiles)
    assert (scaffolds.groupby(scaffolds).transform("size") > 1).any()
    assert task[f"scaffold-{seed}"].groupby(scaffolds).nunique().max() == 1
    assert task[f"random-{seed}"].nunique() == 2


def test_five_seeds_give_five_different_splits() -> None:
    kept, left_out = kept_molecules(table(MOLECULES), single=True)

    task = make_task(kept, (0, 100), left_out)

    assert task[[f"random-{seed}" for seed in range(5)]].T.drop_duplicates().shape[0] == 5
    assert (task["split"] == task["scaffold-0"]).all()


def test_the_corpus_has_no_compound_of_a_task_and_no_scaffold_of_a_test_part() -> None:
    kept, _ = kept_molecules(table(["CCO", "CCc1ccccc1", "CCC1CCCC1"]), single=True)
    task = make_task(kept, (0, 100), {}).assign(split=["train", "train", "train"])
    tested = task["smiles"] == "CCC1CCCC1"
    task.loc[tested, "split"] = "test"
    others, left_out = kept_molecules(
        table(["OCC", "[O-]CC.[Na+]", "Oc1ccccc1", "OC1CCCC1", "CCCCN.Cl", "CCCCN"]), single=False
    )

    corpus = make_corpus(others, [task], left_out)

    assert set(corpus["smiles"]) == {"Oc1ccccc1", "CCCCN"}
    assert set(corpus["smiles"].map(parent_smiles)).isdisjoint(task["smiles"].map(parent_smiles))
    assert left_out == {"in a task": 3, "duplicate": 1}
