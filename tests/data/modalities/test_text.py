from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydistill.data.modalities.text import TextModality
from polydistill.errors import DataError

TEXT = TextModality()


def test_surrounding_space_and_unicode_normalisation_do_not_change_the_id() -> None:
    assert TEXT.content_id("  café\n") == TEXT.content_id("cafe\u0301")


def test_case_and_punctuation_change_the_id_but_not_the_near_key() -> None:
    assert TEXT.content_id("A cat.") != TEXT.content_id("a cat")
    assert TEXT.near_key("A cat.") == TEXT.near_key("a   CAT") == "a cat"


def test_a_text_without_words_is_its_own_near_key() -> None:
    assert TEXT.near_key(" ?! ") == "?!"
    assert TEXT.near_key("?!") != TEXT.near_key("...")


def test_bytes_are_read_as_utf_8() -> None:
    assert TEXT.content_id("naïve".encode()) == TEXT.content_id("naïve")


def test_the_id_is_a_stored_value() -> None:
    # printf 'a cat' | sha256sum
    assert TEXT.content_id("a cat") == "51e467415607798220a3776f6ae1a2a0"


@given(st.text())
def test_the_id_depends_on_the_canonical_text_alone(text: str) -> None:
    canonical = unicodedata.normalize("NFC", text).strip()

    assert TEXT.content_id(text) == TEXT.content_id(canonical)


@given(st.text())
def test_a_near_key_ignores_case(text: str) -> None:
    assert TEXT.near_key(text.casefold().casefold()) == TEXT.near_key(text.casefold())


def test_bytes_and_strings_are_texts_and_numbers_are_not() -> None:
    assert TextModality().coerce("caf\u00e9") == TextModality().coerce("caf\u00e9".encode())
    with pytest.raises(DataError, match=r"must be a string, got 3 \(int\)"):
        TextModality().coerce(3)


def test_the_texts_of_a_pair_are_measured_as_one() -> None:
    assert TextModality().derived([("ab", "c\x00"), ()]) == {
        "n_characters": [5, 0],
        "printable_ratio": [0.8, 0.0],
    }
