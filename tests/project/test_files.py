from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from polydistill.project import files
from polydistill.project.files import is_full_disk, put_in_place, write_atomic


def make_folder(path: Path, text: str) -> Path:
    path.mkdir(parents=True)
    (path / "file.txt").write_text(text)
    return path


@pytest.fixture(params=["one file system", "two file systems"])
def _file_systems(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the second case, the folder `made` appears to be on another disk."""
    if request.param == "one file system":
        return
    monkeypatch.setattr(files, "_device", lambda path: int("made" in path.parts))


@pytest.mark.usefixtures("_file_systems")
def test_a_folder_replaces_another_atomically(tmp_path: Path) -> None:
    made = make_folder(tmp_path / "made" / "new", "new")
    target = make_folder(tmp_path / "here" / "final", "old")
    (target / "stale.txt").write_text("old")

    put_in_place(made, target)

    assert {path.name: path.read_text() for path in target.iterdir()} == {"file.txt": "new"}
    assert [path.name for path in target.parent.iterdir()] == ["final"]
    assert not made.exists()


@pytest.mark.usefixtures("_file_systems")
def test_a_file_replaces_another(tmp_path: Path) -> None:
    made = make_folder(tmp_path / "made", "new") / "file.txt"
    target = tmp_path / "not" / "there" / "yet.txt"

    put_in_place(made, target)

    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["yet.txt"]
    assert not made.exists()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), True),
        (RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/1"), True),
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), False),
        (ValueError("no"), False),
    ],
    ids=["number", "torch", "permission", "other"],
)
def test_a_full_disk_is_told_from_other_errors(error: Exception, expected: bool) -> None:  # noqa: FBT001
    outer = RuntimeError("what a library made of it")
    outer.__cause__ = error

    assert is_full_disk(error) is expected
    assert is_full_disk(outer) is expected


def test_a_file_is_written_completely_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "file.txt"
    write_atomic(path, "first, in UTF-8: é", durable=True)
    write_atomic(path, b"second")
    assert path.read_bytes() == b"second"

    def full(file: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "third")

    assert [one.read_bytes() for one in path.parent.iterdir()] == [b"second"]


def test_a_copy_that_fails_raises_the_systems_error_with_its_file(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "source", "text")

    def fail(_source: str, target: str) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), target)

    with pytest.raises(OSError, match="Too many open files") as caught:
        files.copy_folder(source, tmp_path / "target", fail)

    assert (caught.value.errno, Path(caught.value.filename).name) == (errno.EMFILE, "file.txt")


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_a_folder_replaces_whatever_has_its_name(tmp_path: Path, kind: str) -> None:
    made, target, other = tmp_path / "made", tmp_path / "target", tmp_path / "other"
    for folder in (made, other):
        folder.mkdir()
        (folder / "file").write_text(folder.name)
    if kind == "file":
        target.write_text("in the way")
    elif kind == "link":
        target.symlink_to(other, target_is_directory=True)
    else:
        target.mkdir()

    put_in_place(made, target)

    assert (target / "file").read_text() == "made"
    assert not target.is_symlink()
    assert (other / "file").read_text() == "other"
