from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from polydistill.project import checksums as module
from polydistill.project.checksums import Checksums
from polydistill.project.files import sha256_of


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the files whose content was read, in order."""
    files: list[Path] = []

    def recorded(path: Path) -> str:
        files.append(path)
        return sha256_of(path)

    monkeypatch.setattr(module, "sha256_of", recorded)
    return files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    return path


def test_a_file_is_read_once(tmp_path: Path, file: Path, read: list[Path]) -> None:
    note, sha256 = tmp_path / "notes" / "one.json", sha256_of(file)

    for _ in range(3):
        checksums = Checksums(note)
        assert checksums.match(file, sha256)
        assert checksums.match(file, sha256)
        checksums.save()

    assert read == [file]


def test_all_files_are_read_again_on_request(tmp_path: Path, file: Path, read: list[Path]) -> None:
    note, sha256 = tmp_path / "one.json", sha256_of(file)
    first = Checksums(note)
    first.match(file, sha256)
    first.save()

    assert Checksums(note, verify=True).match(file, sha256)
    assert len(read) == 2


@pytest.mark.parametrize(
    "change",
    [lambda file: file.write_bytes(b"changed"), lambda file: file.write_bytes(b"content and more")],
)
def test_a_changed_file_does_not_match(
    tmp_path: Path, file: Path, change: Callable[[Path], object]
) -> None:
    note, sha256 = tmp_path / "one.json", sha256_of(file)
    first = Checksums(note)
    first.match(file, sha256)
    first.save()
    before = file.stat()
    change(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))

    assert not Checksums(note).match(file, sha256)


def test_a_checksum_in_the_note_that_is_not_the_expected_one_is_computed(
    tmp_path: Path, file: Path
) -> None:
    note = tmp_path / "one.json"
    wrong = Checksums(note)
    wrong.add(file, "0" * 64)
    wrong.save()

    assert Checksums(note).match(file, sha256_of(file))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b"\xff", b'{"a": [1, 2, 3]}'])
def test_a_damaged_note_is_not_used(
    tmp_path: Path, file: Path, read: list[Path], content: bytes
) -> None:
    note = tmp_path / "one.json"
    note.write_bytes(content)

    checksums = Checksums(note)
    assert checksums.match(file, sha256_of(file))
    checksums.save()

    assert read == [file]
    assert Checksums(note).match(file, sha256_of(file))
    assert read == [file]


def test_processes_that_write_one_note_at_once_do_not_disturb_each_other(
    tmp_path: Path, file: Path
) -> None:
    note, sha256 = tmp_path / "one.json", sha256_of(file)
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            for _ in range(200):
                checksums = Checksums(note, verify=True)
                checksums.add(file, sha256)
                checksums.save()
            os._exit(0)
        children.append(child)

    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert Checksums(note).match(file, sha256)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_removed_files_leave_the_note(tmp_path: Path, file: Path) -> None:
    note, other = tmp_path / "one.json", tmp_path / "other"
    other.write_bytes(b"other")
    checksums = Checksums(note)
    checksums.add(file, sha256_of(file))
    checksums.add(other, sha256_of(other))
    other.unlink()

    checksums.save()

    assert str(other) not in note.read_text()
    assert str(file) in note.read_text()
