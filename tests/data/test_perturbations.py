from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydistill.config.data import TaskParams
from polydistill.config.params import parse_params, task_params
from polydistill.data.modalities.text import TextModality
from polydistill.data.perturbations import PERTURBATIONS, perturb
from polydistill.data.tables import benchmark_inputs, perturbed_examples
from polydistill.errors import ParamsError
from tests.our_params import text_params

TEXT = TextModality()
TEXTS = st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=1, max_size=200).filter(
    lambda text: bool(text.strip())
)


def changed(name: str, text: str) -> str:
    return perturb(name, text, TEXT.content_id(text))


def distance(one: Sequence[str], two: Sequence[str]) -> int:
    """The number of insertions, deletions and replacements between two texts (Levenshtein)."""
    row = list(range(len(two) + 1))
    for at, a in enumerate(one, 1):
        last, row[0] = row[0], at
        for to, b in enumerate(two, 1):
            last, row[to] = row[to], min(row[to] + 1, row[to - 1] + 1, last + (a != b))
    return row[-1]


@pytest.mark.parametrize("name", PERTURBATIONS.names())
@given(text=TEXTS)
def test_a_perturbation_depends_on_the_content_alone(name: str, text: str) -> None:
    first = changed(name, text)

    assert first == changed(name, f" {text}\n")
    assert first.strip() == first != ""


@given(text=TEXTS)
def test_there_is_about_one_typo_per_20_characters_and_at_least_one(text: str) -> None:
    text = str(TEXT.canonical(text))

    edits = distance(text, changed("typos", text))

    n_typos = max(1, round(len(text) / 20))
    assert 0 < edits <= 2 * n_typos  # a swap is two replacements


def test_each_typo_occurs() -> None:
    words = [f"banderole{number}" for number in range(300)]

    lengths = pd.Series([len(changed("typos", word)) - len(word) for word in words])

    assert lengths.value_counts(normalize=True).to_dict() == pytest.approx(
        {-1: 0.25, 0: 0.5, 1: 0.25}, abs=0.1
    )


@given(text=TEXTS)
def test_case_changes_nothing_but_the_case(text: str) -> None:
    text = str(TEXT.canonical(text))

    found = changed("case", text)

    assert found in {str(TEXT.canonical(one)) for one in (text.upper(), text.lower(), text.title(), text)}  # fmt: skip
    if text.isascii() and text.upper() != text.lower():
        assert found != text


@pytest.mark.parametrize(
    ("kind", "columns", "rows"),
    [
        ("classification", {"split": ["train", "test", "test"]}, [1, 2]),
        ("regression", {"split": ["train", "test", "train"]}, [1]),
        ("retrieval", {"role": ["query", "corpus", "corpus"]}, [0]),
        ("reranking", {"role": ["query", "corpus", "corpus"]}, [0]),
        ("clustering", {"split": ["train", "test", "test"]}, [0, 1, 2]),
    ],
)
def test_only_scored_rows_are_perturbed(
    kind: str, columns: dict[str, list[str]], rows: list[int]
) -> None:
    frame = pd.DataFrame({"text": ["the sun", "the moon", "a star"], **columns})
    task = task_params("toy", {"kind": kind, "perturb": ["typos"]})

    found = perturbed_examples(frame, task, TEXT, "typos")

    assert found.index.tolist() == rows
    inputs = benchmark_inputs({"toy": frame}, {"toy": task}, TEXT)
    assert set(inputs["text"]) == {*frame["text"], *found}
    assert inputs["id"].tolist() == [TEXT.content_id(text) for text in inputs["text"]]


@pytest.mark.parametrize("kind", ["pair-classification", "sts"])
def test_of_pairs_the_first_example_is_perturbed(kind: str) -> None:
    frame = pd.DataFrame({"text1": ["the sun", "the moon"], "text2": ["a star", "a sky"]})
    task = task_params("toy", {"kind": kind, "perturb": ["case"]})

    found = perturbed_examples(frame, task, TEXT, "case")

    assert [text.lower() for text in found] == ["the sun", "the moon"]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"perturb": ["typo"]}, "Unknown perturbation 'typo'. Did you mean 'typos'"),
        ({"perturb": ["case", "case"]}, "each perturbation once"),
        ({"kind": "sts", "shots": 5}, "shots needs a task of kind classification"),
        ({"shots": 5, "probe": "mlp"}, "shots needs a task of kind classification"),
        ({"shots": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(own: dict[str, object], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        task_params("toy", {"kind": "classification", **own})


def test_only_texts_are_perturbed() -> None:
    tree = text_params()
    task = TaskParams(kind="classification", path="x.csv", domain="in", perturb=("case",))
    tree["vision"] = {
        "corpus": {"path": "x.csv"},
        "teachers": {"one": {"family": "hashing"}},
        "tasks": {"signs": task.model_dump()},
    }
    tree["modalities"] = ["text", "vision"]

    with pytest.raises(ParamsError, match=r"vision.tasks.signs.perturb must be empty, got \['case"):
        parse_params(tree)
