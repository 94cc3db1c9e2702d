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
def test_the_name_is_the_file_s(name: str) -> None:
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
def test_near_keys_are_stable_and_tell_the_sample_apart(name: str) -> None:
    kind = modality(name)

    keys = [kind.near_key(example) for example in sample(name)[kind.column]]

    assert len(set(keys)) == 20
    assert [kind.near_key(key) for key in keys] == keys


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_its_own_examples_as_they_are(name: str) -> None:
    kind = modality(name)

    for example in sample(name)[kind.column]:
        assert kind.coerce(example) == example


@pytest.mark.parametrize("name", NAMES)
def test_it_measures_every_row_of_a_table_and_one_without_an_example(name: str) -> None:
    kind = modality(name)
    rows = [[example] for example in sample(name)[kind.column]]

    measured = kind.derived([*rows, []])

    assert measured
    assert {len(values) for values in measured.values()} == {21}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_served_model_needs_is_installed_here(name: str) -> None:
    for distribution in modality(name).requirements:
        assert version(distribution)


@pytest.mark.parametrize("name", NAMES)
def test_corpus_rules_say_what_is_wrong(name: str) -> None:
    rules = modality(name).corpus_rules()

    assert rules
    for rule in rules:
        assert rule.type.startswith("expect_")
        assert rule.because


@pytest.mark.parametrize("name", NAMES)
def test_what_no_split_may_tear_apart_has_a_key_and_nothing_raises(name: str) -> None:
    kind = modality(name)
    examples = [*sample(name)[kind.column], "", "no example of any kind \x00"]

    keys = [kind.split_key(example) for example in examples]

    assert keys == [kind.split_key(example) for example in examples]
    assert all(key is None or key for key in keys)
    assert kind.near_similarity is None or 0 < kind.near_similarity <= 1
