from __future__ import annotations

from pathlib import Path

import pytest

from polydistill.errors import StoreError
from polydistill.integrations.dvc.stages import DATA_FILE, data_hash

GOOD = b"outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: data\n"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (
            b"<<<<<<< HEAD\n" + GOOD + b"=======\n" + GOOD + b">>>>>>> x\n",
            "merge conflict at line 1",
        ),
        (GOOD.decode().encode("utf-16"), "UTF-8"),
        (b"\xff\xfe\x00", "UTF-8"),
        *(
            (cut, "git checkout data.dvc")
            for cut in (b"", b"outs:", b"outs: 3", b"- 1", b"[" * 5000)
        ),
        *((GOOD[:length], "git checkout data.dvc") for length in range(0, 12, 3)),
    ],
)
def test_a_damaged_data_dvc_is_named_with_advice(
    tmp_path: Path, content: bytes, named: str
) -> None:
    (tmp_path / DATA_FILE).write_bytes(content)

    with pytest.raises(StoreError, match=named) as caught:
        data_hash(tmp_path)

    assert "data.dvc" in str(caught.value)
    assert len(str(caught.value)) < 1000
