from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydistill.data.ids import ID, pack_ids, unpack_ids
from polydistill.errors import DataError

DIGITS = st.binary(min_size=16, max_size=16).map(bytes.hex)


@given(digits=st.lists(DIGITS, max_size=20))
def test_ids_are_packed_and_unpacked_without_a_change(digits: list[str]) -> None:
    packed = pack_ids(digits)

    assert packed.dtype == ID
    assert unpack_ids(packed) == digits
    assert unpack_ids(packed[::-1]) == digits[::-1]


@pytest.mark.parametrize(
    "wrong", ["", "a", "g" * 32, "0" * 31, "0" * 33, " " * 32, "0" * 30 + " 0"]
)
def test_another_id_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(DataError, match=f"32 hexadecimal digits, got '{wrong[:20]}"):
        pack_ids(["0" * 32, wrong, "1" * 32])


def test_lengths_that_even_out_are_refused() -> None:
    with pytest.raises(DataError, match="32 hexadecimal digits"):
        pack_ids(["0" * 30, "0" * 34])


def test_no_ids_are_an_empty_array() -> None:
    assert unpack_ids(np.empty(0, ID)) == unpack_ids(pack_ids([])) == []
