"""Images and molecules through the registry: published, loaded by MLflow alone, judged by the whole gate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import settings
from hypothesis import strategies as st

from polydistill.config.params import load_params
from polydistill.data.images import UnreadableImageError, as_png, read_image
from polydistill.errors import DataError, MissingDataError
from polydistill.integrations.great_expectations import GreatExpectationsChecker
from polydistill.integrations.mlflow.bundle import load_model
from polydistill.integrations.mlflow.promotion import promote
from polydistill.integrations.mlflow.publish import publish
from polydistill.integrations.mlflow.registry import champion_drift
from polydistill.integrations.mlflow.store import connected, model_name
from polydistill.project.layout import Layout
from polydistill.students import encode, load_student
from tests.made_images import bomb, cmyk, png, transparent, truncated
from tests.our_params import our_params
from tests.published_modalities import SMALL, make_published
from tests.published_project import make_evaluated_project


@pytest.fixture
def project(
    empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """Make a project of a modality, with an empty tracking store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def make(modality: str) -> Path:
        root = make_published(tmp_path / modality, modality)
        (root / "mlruns").mkdir()
        shutil.copy(empty_database, root / "mlruns" / "mlflow.db")
        return root

    return make


@pytest.fixture(scope="module")
def loaded(
    empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, Any]]:
    """Publish a modality's student once, and load it by MLflow."""
    models: dict[str, tuple[Path, Any]] = {}

    def load(modality: str) -> tuple[Path, Any]:
        if modality not in models:
            make = (
                make_evaluated_project
                if modality == "text"
                else partial(make_published, modality=modality)
            )
            root = make(tmp_path_factory.mktemp("published") / modality)
            (root / "mlruns").mkdir()
            shutil.copy(empty_database, root / "mlruns" / "mlflow.db")
            publish(root, load_params(root), modality)
            with connected(root):
                model = mlflow.pyfunc.load_model(f"models:/{model_name(modality)}/1")
            models[modality] = root, model
        return models[modality]

    return load


def expected(root: Path, modality: str, examples: list[Any]) -> np.ndarray[Any, Any]:
    return encode(load_student(Layout(root, modality).student), examples)


def pixels(content: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(read_image(content))


def test_images_are_taken_as_bytes_paths_arrays_or_a_table_of_them(
    loaded: Callable[[str], tuple[Path, Any]], tmp_path: Path
) -> None:
    root, model = loaded("vision")
    first, second = png(1), png(2, side=48)
    path = tmp_path / "first.png"
    path.write_bytes(first)
    wanted = expected(root, "vision", [first, second])

    given = {
        "bytes": [first, second],
        "paths and bytes": [str(path), second],
        "a Path and bytes": [path, bytearray(second)],
        "arrays of two sizes": [pixels(first), pixels(second)],
        "mixed": [str(path), pixels(second)],
        "a table": pd.DataFrame({"image": [first, second], "id": [1, 2]}),
        "a table of arrays": pd.DataFrame({"anything": [pixels(first), pixels(second)]}),
        "a column": pd.Series([str(path), second]),
    }

    for how, examples in given.items():
        np.testing.assert_allclose(model.predict(examples), wanted, atol=1e-5, err_msg=how)
    np.testing.assert_allclose(model.predict(first), wanted[:1], atol=1e-5)
    np.testing.assert_allclose(model.predict(str(path)), wanted[:1], atol=1e-5)
    assert model.predict([]).shape == (0, 8)


def test_alpha_and_grey_arrays_are_seen_as_the_images_that_they_stand_for(
    loaded: Callable[[str], tuple[Path, Any]],
) -> None:
    from PIL import Image

    root, model = loaded("vision")
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    alpha = np.zeros((16, 16, 4), np.uint8)
    alpha[:, 8:, 3] = 255

    answers = model.predict([grey, grey[..., None], alpha, cmyk()])

    examples = [as_png(Image.fromarray(grey))] * 2 + [transparent(), cmyk()]
    np.testing.assert_allclose(answers, expected(root, "vision", examples), atol=1e-5)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ([png(), truncated()], UnreadableImageError, "Example 2: .* truncated"),
        ([bomb()], UnreadableImageError, "too large"),
        (["nowhere.png"], MissingDataError, "No image file 'nowhere.png'"),
        (["x" * 5000], MissingDataError, r"No image file 'x+\.\.\."),
        ([3], DataError, r"got 3 \(int\)"),
        ([np.full((4, 4), 2.0)], DataError, "must be uint8"),
        (np.zeros((8, 8, 3), np.uint8), DataError, r"as a list: \[array\] for one"),
        (pd.DataFrame({"a": [png()], "b": [png()]}), DataError, "one column 'image', or only one"),
    ],
    ids=["truncated", "bomb", "no file", "long", "number", "floats", "bare array", "two columns"],
)
def test_what_is_no_image_is_refused_in_a_sentence(
    loaded: Callable[[str], tuple[Path, Any]], given: object, error: type[Exception], said: str
) -> None:
    _, model = loaded("vision")

    with pytest.raises(error, match=said):
        model.predict(given)


def test_images_come_through_the_json_that_mlflow_serves(
    loaded: Callable[[str], tuple[Path, Any]],
) -> None:
    from mlflow.models import convert_input_example_to_serving_input
    from mlflow.pyfunc.scoring_server import infer_and_parse_data

    root, model = loaded("vision")
    served = json.loads(convert_input_example_to_serving_input([png(1), png(2)]) or "")

    answers = model.predict(infer_and_parse_data(served))

    wanted = expected(root, "vision", [png(1), png(2)])
    np.testing.assert_allclose(answers, wanted, atol=1e-5)


def test_molecules_are_taken_as_smiles_and_a_wrong_one_is_named(
    loaded: Callable[[str], tuple[Path, Any]],
) -> None:
    root, model = loaded("molecules")
    wanted = expected(root, "molecules", ["CCO", "c1ccccc1"])

    for given in (["OCC", "c1ccccc1"], pd.DataFrame({"smiles": ["CCO", "c1ccccc1"]})):
        np.testing.assert_allclose(model.predict(given), wanted, atol=1e-5)
    for wrong in ("C1CC", "", "no molecule"):
        with pytest.raises(DataError, match=f"Example 2: .* valid SMILES .* got {wrong!r}"):
            model.predict(["CCO", wrong])


POOLS: dict[str, tuple[str, list[Any]]] = {
    "text": ("text", ["a cat", "", "a much longer text, with ünïcode", "row-1"]),
    "molecules": ("smiles", ["CCO", "c1ccccc1", "C[C@H](N)C(=O)O"]),
    "vision": ("image", [png(1), png(2), png(3, side=48)]),
}
OTHERS: dict[str, Callable[[int], list[Any]]] = {
    "id": lambda n: [f"row-{row}" for row in range(n)],
    "title": lambda n: ["a title"] * n,
    "label": lambda n: list(range(n)),
    "weight": lambda n: [0.5] * n,
    "empty": lambda n: [None] * n,
}
LISTS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "array": lambda values: np.array(values, dtype=object),
    "series": lambda values: pd.Series(values, name="anything", dtype=object),
    "labelled": lambda values: pd.Series(values, index=[9] * len(values), dtype=object),
    "categorical": lambda values: pd.Series(values, dtype="category"),
    "categories": pd.Categorical,
    "index": pd.Index,
}


@st.composite
def tables(draw: st.DrawFn, column: str, examples: list[Any]) -> Any:
    """A table whose examples are in the modality's column, or in the only column of strings."""
    named = draw(st.booleans())
    others = draw(st.lists(st.sampled_from([*OTHERS]), unique=True))
    if not named:
        others = [name for name in others if name not in {"id", "title"} and examples]
    names = [column, column.upper(), column.title(), f" {column}"] if named else ["body", "Line"]
    columns = {name: OTHERS[name](len(examples)) for name in others}
    place = draw(st.integers(0, len(others)))
    rows = [*columns.items()]
    rows.insert(place, (draw(st.sampled_from(names)), examples))
    table = dict(rows)
    return pd.DataFrame(table) if draw(st.booleans()) else table


def containers(column: str, examples: list[Any]) -> st.SearchStrategy[Any]:
    lists = st.sampled_from([*LISTS.values()]).map(lambda make: make(examples))
    return lists | tables(column, examples)


@pytest.mark.parametrize("modality", POOLS)
def test_every_container_of_examples_gives_their_embeddings(
    loaded: Callable[[str], tuple[Path, Any]], modality: str
) -> None:
    (root, model), (column, pool) = loaded(modality), POOLS[modality]
    student = load_student(Layout(root, modality).student)

    @hypothesis.given(st.data())
    @settings(max_examples=30, deadline=None)
    def check(data: st.DataObject) -> None:
        examples = data.draw(st.lists(st.sampled_from(pool), max_size=4))
        given_input = data.draw(containers(column, examples))

        answers = model.predict(given_input)

        assert answers.shape == (len(examples), student.dim)
        np.testing.assert_allclose(answers, encode(student, examples), atol=1e-5)

    check()


@pytest.mark.parametrize("missing", [float("nan"), None, pd.NA, 3])
@pytest.mark.parametrize("modality", POOLS)
def test_a_missing_example_in_any_container_is_named_by_its_row(
    loaded: Callable[[str], tuple[Path, Any]], modality: str, missing: object
) -> None:
    (_, model), (column, pool) = loaded(modality), POOLS[modality]
    makers: list[Callable[[list[Any]], Any]] = [*LISTS.values(), lambda values: {column: values}]
    for make in makers:
        for values in ([missing], [*pool[:2], missing]):
            with pytest.raises(DataError, match=f"^Example {len(values)}: "):
                model.predict(make(values))


@pytest.mark.parametrize("modality", POOLS)
@pytest.mark.parametrize(
    "table",
    [
        {},
        {"id": ["row-1"], "body": ["a cat"]},
        {"id": [1], "label": [2]},
        {f"{'x' * 100}{n}": ["a"] for n in range(100)},
    ],
    ids=["no column", "two of strings", "none of strings", "many"],
)
def test_a_table_without_a_column_of_examples_is_refused_with_its_columns(
    loaded: Callable[[str], tuple[Path, Any]], modality: str, table: dict[str, list[Any]]
) -> None:
    _, model = loaded(modality)

    for given_input in (table, pd.DataFrame(table)):
        with pytest.raises(DataError, match="must have one column .* got ") as got:
            model.predict(given_input)
        assert len(str(got.value)) < 300
    twice = pd.DataFrame([["a", "b"]], columns=[POOLS[modality][0]] * 2)
    with pytest.raises(DataError, match="must have one column"):
        model.predict(twice)


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["vision", "molecules"])
def test_the_whole_gate_finds_its_evidence_and_the_champion_serves_the_sample(
    project: Callable[[str], Path], modality: str
) -> None:
    root = project(modality)
    path = root / "params.yaml"
    tree, ours = yaml.safe_load(path.read_text()), our_params()
    looser = {"resamples": 200, "max_latency_ratio": 5.0, "reproducible": "any"}
    tree[modality]["gate"] = ours[modality]["gate"] | looser
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    params = load_params(root)

    published = publish(root, params, modality)
    verdict = promote(root, params, modality)
    moved = champion_drift(
        root, params, modality, published.model, GreatExpectationsChecker(root / "drift_docs")
    )

    rules = {rule.name: rule for rule in verdict.rules}
    assert [rule.because for rule in verdict.rules if not rule.passed] == []
    assert "gives the same answers" in rules["smoke-test"].because
    assert rules["memory"].value is not None
    assert rules["size"].value is not None
    assert moved.drifted == ()
    champion = load_model(root, f"models:/{published.model}@champion")
    assert champion(list(SMALL[modality].examples[:3])).shape == (3, 8)
