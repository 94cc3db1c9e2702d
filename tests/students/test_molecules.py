"""Properties of the molecule students beyond the contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polydistill.contracts import Student
from polydistill.errors import DataError
from polydistill.students import STUDENTS, encode
from polydistill.students.smiles_transformer import make_tokenizer

SMALL: dict[str, dict[str, Any]] = {
    "gine": {"dim": 6, "layers": 2, "hidden": 8},
    "smiles-transformer": {"dim": 8, "layers": 2, "heads": 2, "min_count": 1},
}
SMILES = ["CCO", "c1ccccc1", "C", "CC(=O)[O-].[Na+]", "F/C=C/F"]


def build(name: str, **changes: Any) -> Student:
    generator = torch.Generator().manual_seed(0)
    built: Student = STUDENTS.get(name).build(SMILES, generator, **(SMALL[name] | changes))
    return built


@pytest.mark.parametrize("name", SMALL)
def test_all_spellings_of_a_molecule_have_one_embedding(name: str) -> None:
    one, other = encode(build(name), ["CC(=O)OC", "COC(C)=O"])

    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("wrong", ["C1CC", "", "no molecule"])
def test_an_invalid_molecule_is_named(name: str, wrong: str) -> None:
    with pytest.raises(DataError, match="must be a valid SMILES"):
        encode(build(name), ["CCO", wrong])


@pytest.mark.parametrize("name", SMALL)
def test_a_molecule_of_500_atoms_is_embedded(name: str) -> None:
    assert np.isfinite(encode(build(name), ["C" * 500])).all()


def test_dropout_is_active_only_in_training() -> None:
    student = build("gine", dropout=0.5)
    features = student.collate(SMILES)

    student.module.train()
    first, second = student.forward(features), student.forward(features)
    student.module.eval()

    assert not torch.allclose(first, second)
    torch.testing.assert_close(student.forward(features), student.forward(features))


@pytest.mark.parametrize("threads", [1, 2])
def test_training_of_gine_is_reproducible(threads: int) -> None:
    def trained() -> np.ndarray[Any, Any]:
        student = build("gine")
        torch.set_num_threads(threads)
        optimiser = torch.optim.SGD(student.module.parameters(), lr=0.1)
        for _ in range(3):
            student.forward(student.collate(SMILES * 8)).square().sum().backward()
            optimiser.step()
        return encode(student, SMILES)

    np.testing.assert_array_equal(trained(), trained())
    torch.set_num_threads(1)


def test_gine_distinguishes_sizes_of_molecules() -> None:
    student = build("gine")

    hexane, decane = encode(student, ["CCCCCC", "CCCCCCCCCC"])

    assert np.abs(hexane - decane).max() > 1e-4


def test_the_gine_of_the_paper_has_its_layers() -> None:
    module = build("gine", layers=10, hidden=512, dim=512).module

    assert len(list(module.rounds)) == 10  # type: ignore[arg-type]
    assert sum(weight.numel() for weight in module.parameters()) > 5_000_000


def test_smiles_are_tokenized_into_atoms_and_symbols() -> None:
    tokenizer = make_tokenizer(["C[C@H](Cl)c1ccccc1Br", "C%12CC%12"], 1, 64)

    assert tokenizer.tokenize("C[C@H](Cl)Br%12") == [
        "C", "[C@H]", "(", "Cl", ")", "Br", "[UNK]",
    ]  # fmt: skip
    assert tokenizer.tokenize("[U]") == ["[UNK]"]


def test_gine_leaves_no_file_in_the_temporary_folder(tmp_path: Path) -> None:
    code = """
import torch
from polydistill.students import STUDENTS, encode
encode(STUDENTS.get("gine").build([], torch.Generator(), dim=3, layers=1, hidden=4), ["CCO"])
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}

    subprocess.run([sys.executable, "-c", code], env=environment, check=True)

    assert not list(tmp_path.rglob("*"))
