from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from polydistill.project import code_version as module
from polydistill.project.code_version import code_version


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "madeup"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "top.py").write_text(
        '"""Top."""\nfrom madeup.below import two\nFOUR = two() + two()\n'
    )
    (folder / "below.py").write_text('def two():\n    """Return two."""\n    return 2  # yes\n')
    (folder / "apart.py").write_text("THREE = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "PACKAGE", "madeup")
    yield folder
    for name in [name for name in sys.modules if name.startswith("madeup")]:
        del sys.modules[name]


def test_comments_and_docstrings_do_not_change_the_version(package: Path) -> None:
    before = code_version(["madeup.top"])
    (package / "below.py").write_text("def two():\n    # quite\n    return (2)\n")

    assert code_version(["madeup.top"]) == before


def test_a_change_of_an_imported_module_changes_the_version(package: Path) -> None:
    before = code_version(["madeup.top"])
    (package / "below.py").write_text("def two():\n    return 3\n")

    assert code_version(["madeup.top"]) != before
    assert code_version(["madeup.top"], ["madeup.below"]) != before


def test_a_change_of_another_module_does_not_change_the_version(package: Path) -> None:
    before = code_version(["madeup.top"])
    (package / "apart.py").write_text("THREE = 4\n")

    assert code_version(["madeup.top"]) == before


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="polydistill.nowhere"):
        code_version(["polydistill.nowhere"])
