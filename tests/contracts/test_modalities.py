"""Contract of every registered modality; new plug-ins are tested automatically."""

from __future__ import annotations

import importlib.resources
import re
from importlib.metadata import version

import pandas as pd
import pytest

from polydistill.contracts import Modality
from polydistill.data.files import read_table
from polydistill.data.modalities import MODALITIES

NAMES = MODALITIES.names()


def modality(name: str) -> Modality:
    built: Modality = MODALITIES.get(name)()
    return built


def sample(name: str) -> pd.DataFrame:
    folder = importlib.resources.files("polydistill.data.modalities") / "samples"
    suffix = ".csv" if (folder / f"{name}.csv").is_file() else ".parquet"
    with importlib.resources.as_file(folder / f"{name}{suffix}") as path:
        return read_table(path)


def test_the_package_has_plug_ins() -> None:
    assert "text" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_name_is_that_of_the_file(name: str) -> None:
    assert modality(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_it_ships_a_sample_of_20_distinct_examples(name: str) -> None:
    kind = modality(name)

    examples = sample(name)[kind.column]

    assert len(examples) == 20
    assert examples.map(kind.content_id).nunique() == 20


@pytest.mark.parametrize("name", NAMES)
def test_a_content_id_is_32_hexadecimal_digits_and_repeats(name: str) -> None:
    for example in sample(name)[modality(name).column]:
        first, again = modality(name).content_id(example), modality(name).content_id(example)

        assert re.fullmatch("[0-9a-f]{32}", first)
        assert first == again


@pytest.mark.parametrize("name", NAMES)
def test_near_keys_are_stable_and_distinct_in_the_sample(name: str) -> None:
    kind = modality(name)

    keys = [kind.near_key(example) for example in sample(name)[kind.column]]

    assert len(set(keys)) == 20
    assert [kind.near_key(key) for key in keys] == keys


@pytest.mark.parametrize("name", NAMES)
def test_its_own_examples_are_unchanged_by_coercion(name: str) -> None:
    kind = modality(name)

    for example in sample(name)[kind.column]:
        assert kind.coerce(example) == example


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_measured_even_one_without_an_example(name: str) -> None:
    kind = modality(name)
    rows = [[example] for example in sample(name)[kind.column]]

    measured = kind.derived([*rows, []])

    assert measured
    assert {len(values) for values in measured.values()} == {21}


@pytest.mark.parametrize("name", NAMES)
def test_the_requirements_of_a_served_model_are_installed(name: str) -> None:
    for distribution in modality(name).requirements:
        assert version(distribution)


@pytest.mark.parametrize("name", NAMES)
def test_corpus_rules_have_a_message(name: str) -> None:
    rules = modality(name).corpus_rules()

    assert rules
    for rule in rules:
        assert rule.type.startswith("expect_")
        assert rule.because


@pytest.mark.parametrize("name", NAMES)
def test_split_keys_exist_for_all_examples_and_never_raise(name: str) -> None:
    kind = modality(name)
    examples = [*sample(name)[kind.column], "", "no example of any kind \x00"]

    keys = [kind.split_key(example) for example in examples]

    assert keys == [kind.split_key(example) for example in examples]
    assert all(key is None or key for key in keys)
    assert kind.near_similarity is None or 0 < kind.near_similarity <= 1
