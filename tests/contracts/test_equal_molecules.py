"""Equal content, equal vectors: all ways to write a molecule embed alike in every teacher, student and way in."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

import polydistill
from polydistill.config.data import CorpusParams, TaskParams
from polydistill.contracts import Example, FloatArray, Teacher
from polydistill.data.modalities.molecules import MoleculesModality
from polydistill.data.smiles import canonical_smiles, require_smiles
from polydistill.data.tables import complete_task, corpus_table, read_examples
from polydistill.errors import DataError
from polydistill.students import STUDENTS, encode
from polydistill.teachers import TEACHERS
from polydistill.teachers.dmpnn import Network
from polydistill.teachers.minimol import MinimolTeacher

KIND = MoleculesModality()
CHIRAL = [
    "C[C@H](N)C(=O)O",
    "F[C@@H](Cl)Br",
    "C[C@H](O)[C@@H](N)C(=O)O",
    "CN1CC[C@]23c4c5ccc(O)c4O[C@H]2[C@@H](O)C=C[C@H]3[C@H]1C5",
    "C[S@](=O)c1ccccc1",
    "O=C1C[C@@H]2CC[C@H]1C2",
    "CC(C)[C@@H]1CC[C@@H](C)C[C@H]1O",
    "F[C@H](Cl)[C@H](F)Cl",
    "C[P@](=O)(Oc1ccccc1)OCC",
    "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
]
"""Molecules that differ from their mirror images."""
MESO = ["C[C@H]1CCC[C@@H](C)C1", "F[C@H](Cl)[C@@H](F)Cl", "C[C@H]1CC[C@@H](C)CC1"]
"""Molecules with stereocentres that equal their mirror images."""
OTHERS = [
    "CCO",
    "C",
    "c1ccc2[nH]ccc2c1",
    *MESO,
    "F/C=C/F",
    "C/C=C\\C=C\\c1ccccc1",
    "C/C(=N\\O)c1ccccc1",
    "[2H]OC",
    "[13CH3]C(=O)O",
    "CC(=O)[O-].[Na+]",
    "O=[N+]([O-])c1ccccc1",
    "C[N+](C)(C)C.[Cl-]",
    "[Fe+2].[CH-]1C=CC=C1.[CH-]1C=CC=C1",
    "C[CH]C",
    "*CC",
]
SETTINGS = settings(max_examples=10, deadline=None)
WIDTH = 16


@st.composite
def spellings(draw: st.DrawFn, molecules: list[str] = CHIRAL + OTHERS) -> tuple[str, str]:
    """Draw a molecule and another way to write it: order of atoms, Kekulé form, hydrogens, atom maps, a name."""
    smiles = draw(st.sampled_from(molecules))
    molecule = Chem.MolFromSmiles(smiles)
    if draw(st.booleans()):
        for atom in molecule.GetAtoms():
            atom.SetAtomMapNum(draw(st.integers(0, 12)))
    if draw(st.booleans()):
        molecule = Chem.AddHs(molecule)
    order = draw(st.permutations(range(molecule.GetNumAtoms())))
    written = Chem.MolToSmiles(
        Chem.RenumberAtoms(molecule, list(order)),
        canonical=False,
        kekuleSmiles=draw(st.booleans()),
        allHsExplicit=draw(st.booleans()),
        allBondsExplicit=draw(st.booleans()),
    )
    return smiles, draw(st.sampled_from(["{}", " {}\n", "{}\tits name"])).format(written)


class Session:
    """Stands in for ONNX Runtime: the mean of a random projection of MiniMol's atom features."""

    def run(self, _: None, graph: dict[str, Any]) -> list[FloatArray]:
        names = ("feat", "laplacian_eigvec", "laplacian_eigval", "rw_return_probs")
        atoms = np.concatenate([graph[name] for name in names], axis=1)
        weights = np.random.default_rng(0).normal(size=(atoms.shape[1], WIDTH))
        rows = np.tanh(atoms @ weights)
        n = len(graph["graph_slots"])
        return [
            np.stack([rows[graph["batch"] == i].mean(axis=0) for i in range(n)]).astype(np.float32)
        ]


def random_network() -> Network:
    draw = torch.Generator().manual_seed(0)
    shapes = {
        "W_i.weight": (WIDTH, 86),
        "W_h.weight": (WIDTH, WIDTH),
        "W_o.weight": (WIDTH, 72 + WIDTH),
    }
    weights = {name: torch.randn(shape, generator=draw) / 4 for name, shape in shapes.items()}
    return Network({**weights, "W_o.bias": torch.zeros(WIDTH)}, depth=3, norm=10.0)


@cache
def teacher(name: str) -> Teacher:
    options: dict[str, dict[str, Any]] = {
        "descriptors": {"kind": "descriptors", "dim": 217},
        "morgan": {"kind": "morgan", "dim": 128},
        "maccs": {"kind": "maccs", "dim": 167},
        "dmpnn": {"checkpoints": [], "dim": WIDTH},
        "minimol": {"model": "", "dim": WIDTH},
        "hashing": {},
    }
    family = "fingerprint" if "kind" in options[name] else name
    made: Teacher = TEACHERS.get(family)(name=name, threads=1, **options[name])
    if name == "dmpnn":
        vars(made)["_networks"] = [random_network()]
    if name == "minimol":
        assert isinstance(made, MinimolTeacher)
        vars(made)["_session"] = Session()
    return made


@cache
def student(name: str) -> Any:
    options: dict[str, dict[str, Any]] = {
        "gine": {"dim": 8, "layers": 2, "hidden": 16},
        "smiles-transformer": {"dim": 8, "layers": 2, "heads": 2, "min_count": 1},
    }
    draw = torch.Generator().manual_seed(0)
    return STUDENTS.get(name).build(CHIRAL + OTHERS, draw, **options[name])


TEACHERS_OF_MOLECULES = ("descriptors", "morgan", "maccs", "dmpnn", "minimol")
STUDENTS_OF_MOLECULES = ("gine", "smiles-transformer")
MODELS: dict[str, Callable[[list[Example]], FloatArray]] = {
    **{
        name: lambda rows, name=name: teacher(name).embed(rows).values  # type: ignore[misc]
        for name in TEACHERS_OF_MOLECULES
    },
    **{
        name: lambda rows, name=name: encode(student(name), rows)  # type: ignore[misc]
        for name in STUDENTS_OF_MOLECULES
    },
}


@pytest.mark.parametrize("model", MODELS)
@SETTINGS
@given(st.lists(spellings(), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_equal_molecules_embed_alike_in_any_batch_and_order(
    model: str, pairs: list[tuple[str, str]], random: Any
) -> None:
    embed = MODELS[model]
    order = random.sample(range(len(pairs)), len(pairs))

    together = embed([pairs[row][1] for row in order])

    for position, row in enumerate(order):
        smiles, written = pairs[row]
        assert KIND.content_id(written) == KIND.content_id(smiles)
        np.testing.assert_allclose(together[position], embed([smiles])[0], atol=1e-5, rtol=1e-5)


def mirrored(smiles: str) -> str:
    molecule = Chem.MolFromSmiles(smiles)
    for atom in molecule.GetAtoms():
        atom.InvertChirality()
    return str(Chem.MolToSmiles(molecule))


@pytest.mark.parametrize("model", ["dmpnn", *STUDENTS_OF_MOLECULES])
@SETTINGS
@given(spellings(CHIRAL))
def test_mirror_images_differ_where_the_model_sees_chirality(
    model: str, pair: tuple[str, str]
) -> None:
    smiles, written = pair
    mirror = mirrored(smiles)

    one, other = MODELS[model]([written, mirror])

    assert KIND.content_id(written) != KIND.content_id(mirror)
    assert np.abs(one - other).max() > 1e-4


@pytest.mark.parametrize("smiles", MESO)
def test_a_meso_compound_is_its_own_mirror_image(smiles: str) -> None:
    assert canonical_smiles(smiles) == canonical_smiles(mirrored(smiles))


@SETTINGS
@given(spellings())
def test_a_canonical_smiles_is_its_own_canonical_form(pair: tuple[str, str]) -> None:
    canonical = KIND.coerce(pair[1])

    assert canonical == KIND.coerce(canonical) == canonical_smiles(pair[0])


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    for name in STUDENTS_OF_MOLECULES:
        student(name).save(folder / name)
    return folder


@cache
def loaded(bundle: Path, way: str) -> Callable[[list[str]], Any]:
    """Return a function that embeds molecules with a student's bundle by one of the ways in."""
    if way == "load":
        return polydistill.load(bundle, modality="molecules").encode
    if way == "pyfunc":
        mlflow = pytest.importorskip("mlflow")
        assert mlflow
        from polydistill.integrations.mlflow.pyfunc_student import StudentModel

        model = StudentModel()
        config = {"modality": "molecules"}
        model.load_context(SimpleNamespace(model_config=config, artifacts={"student": str(bundle)}))
        return lambda rows: model.predict(None, rows)  # type: ignore[arg-type]
    sentence_transformers = pytest.importorskip("sentence_transformers")
    return sentence_transformers.SentenceTransformer(  # type: ignore[no-any-return]
        str(bundle), device="cpu", trust_remote_code=True
    ).encode


WAYS = [
    (name, way)
    for name in STUDENTS_OF_MOLECULES
    for way in ("load", "pyfunc", "sentence-transformers")
]


@pytest.mark.parametrize(
    ("name", "way"), [one for one in WAYS if one != ("gine", "sentence-transformers")]
)
@SETTINGS
@given(pairs=st.lists(spellings(), min_size=1, max_size=4))
def test_every_way_in_reads_the_canonical_form(
    bundles: Path, name: str, way: str, pairs: list[tuple[str, str]]
) -> None:
    found = loaded(bundles / name, way)([written for _, written in pairs])

    np.testing.assert_allclose(found, MODELS[name]([one for one, _ in pairs]), atol=1e-5)


@SETTINGS
@given(pairs=st.lists(spellings(), min_size=1, max_size=4))
def test_a_model_that_reads_texts_gets_the_canonical_form_from_files_and_tables(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.txt"
    path.write_text("\n".join(written.strip() for _, written in pairs))
    ids = [KIND.content_id(written) for _, written in pairs]
    frame = pd.DataFrame({"id": ids, "smiles": [written for _, written in pairs], "label": 0.5})
    task = TaskParams(kind="regression", path="the task", domain="in", split="id", group="id")
    corpus, _ = corpus_table(frame, CorpusParams(path="the corpus"), KIND)
    completed, _ = complete_task(frame, task, KIND)
    wanted = [require_smiles(smiles) for smiles, _ in pairs]

    for examples in (
        read_examples(path, KIND),
        corpus["smiles"].tolist(),
        completed["smiles"].tolist(),
    ):
        np.testing.assert_array_equal(
            teacher("hashing").embed(examples).values, teacher("hashing").embed(wanted).values
        )


@pytest.mark.parametrize(
    "container", [list, tuple, np.array, pd.Series, pd.Categorical, pd.Index, iter]
)
def test_a_student_embeds_any_list_of_molecules_and_names_a_missing_one(
    bundles: Path, container: Callable[[list[object]], Any]
) -> None:
    embed = polydistill.load(bundles / "gine", modality="molecules").encode

    assert embed(container(["OCC", "C"])).shape == (2, 8)
    assert embed(container([])).shape == (0, 8)
    for missing in (float("nan"), None, "", "C C"):
        with pytest.raises(DataError, match="^Example 2: A molecule must be a valid SMILES"):
            embed(container(["OCC", missing]))


def test_a_student_refuses_a_table(bundles: Path) -> None:
    embed = polydistill.load(bundles / "gine", modality="molecules").encode

    for table in ({"smiles": ["CCO"]}, pd.DataFrame({"smiles": ["CCO"]})):
        with pytest.raises(DataError, match="got a table: choose a column"):
            embed(table)
