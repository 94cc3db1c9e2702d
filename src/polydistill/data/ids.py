"""Content ids in 16 bytes per row; `contracts.Modality.content_id` writes the same ids as 32 hexadecimal digits."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from polydistill.errors import DataError, short

ID_BYTES = 16
ID = np.dtype(f"V{ID_BYTES}")
Ids = NDArray[np.void]
"""`(n,)`, of dtype `ID`."""


class IdRows(Protocol):
    """The ids of many rows, in memory or on disk."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Ids:
        """Return the ids of consecutive rows."""


def pack_ids(digits: Sequence[str]) -> Ids:
    r"""Return ids that are written as 32 hexadecimal digits each, `(n,)`.

    Raises:
        DataError: An id is not written so.

    Examples:
        >>> pack_ids(["00112233445566778899aabbccddeeff"]).tobytes()[:3]
        b'\x00\x11"'
    """
    text = "".join(digits)
    try:
        packed = np.frombuffer(bytes.fromhex(text), dtype=ID)
    except ValueError:
        packed = np.empty(0, dtype=ID)
    if len(packed) != len(digits) or any(len(one) != 2 * ID_BYTES for one in digits):
        wrong = next(one for one in digits if not _is_id(one))
        raise DataError(f"An id must have {2 * ID_BYTES} hexadecimal digits, got {short(wrong)}.")
    return packed


def unpack_ids(ids: Ids) -> list[str]:
    """Return ids as 32 hexadecimal digits each.

    Examples:
        >>> unpack_ids(pack_ids(["0" * 32, "f" * 32]))[1] == "f" * 32
        True
    """
    text, size = ids.tobytes().hex(), 2 * ID_BYTES
    return [text[start : start + size] for start in range(0, len(text), size)]


def _is_id(digits: str) -> bool:
    return len(digits) == 2 * ID_BYTES and not set(digits) - set("0123456789abcdefABCDEF")
