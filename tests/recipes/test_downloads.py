from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from polydistill.errors import DataError, StageError
from recipes.downloads import Package, fetch
from tests.archives import make_tar, pin

MARK = "setup-has-run"
SETUP = f"""
import pathlib, setuptools
pathlib.Path({MARK!r}).touch()
setuptools.setup(name="tinytexts", version="1.0")
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's only source of packages, without a network."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def package(registry: Path) -> Package:
    metadata = "Metadata-Version: 2.1\nName: tinytexts\nVersion: 1.0\n"
    members = {"tinytexts-1.0/setup.py": SETUP, "tinytexts-1.0/PKG-INFO": metadata}
    return pin(make_tar(registry / "tinytexts-1.0.tar.gz", members), "pypi", "tinytexts")


def give_npm(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a shell script named `npm` first in PATH."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_pip_downloads_the_pinned_file_into_the_cache(package: Package, tmp_path: Path) -> None:
    path = fetch(package, tmp_path / "cache")

    assert path == tmp_path / "cache" / package.file
    assert [one.name for one in path.parent.iterdir()] == [package.file]


def test_a_relative_cache_folder_works(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert fetch(package, Path("cache")).exists()


def test_a_cached_file_needs_no_registry(package: Package, registry: Path, tmp_path: Path) -> None:
    fetch(package, tmp_path / "cache")
    (registry / package.file).unlink()

    assert fetch(package, tmp_path / "cache").exists()


def test_a_damaged_cached_file_is_fetched_again(package: Package, tmp_path: Path) -> None:
    path = fetch(package, tmp_path / "cache")
    sound = path.read_bytes()
    path.write_bytes(sound[:-10])

    assert fetch(package, tmp_path / "cache").read_bytes() == sound


def test_a_source_package_with_another_hash_is_an_error_before_its_setup_runs(
    package: Package, tmp_path: Path
) -> None:
    other = dataclasses.replace(package, sha256="0" * 64)

    with pytest.raises(DataError, match=r"tinytexts-1.0.tar.gz must have sha256 0{64}"):
        fetch(other, tmp_path / "cache")

    assert not list(tmp_path.rglob(MARK))
    assert not list((tmp_path / "cache").iterdir())


def test_an_unavailable_package_is_a_stage_error_with_the_cause(
    package: Package, registry: Path, tmp_path: Path
) -> None:
    (registry / package.file).unlink()

    with pytest.raises(StageError, match=r"tinytexts==1.0 cannot be downloaded: .*tinytexts"):
        fetch(package, tmp_path / "cache")


def test_npm_packs_the_pinned_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = make_tar(tmp_path / "tiny-1.0.tgz", {"package/a": "a"})
    give_npm(tmp_path / "bin", monkeypatch, f'echo "$@" > {tmp_path}/asked; cp {served} .')

    path = fetch(pin(served, "npm", "tiny"), tmp_path / "cache")

    assert path.read_bytes() == served.read_bytes()
    assert (tmp_path / "asked").read_text().split() == ["pack", "--silent", "tiny@1.0"]


def test_an_npm_file_with_another_hash_is_an_error_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = make_tar(tmp_path / "tiny-1.0.tgz", {"package/a": "a"})
    give_npm(tmp_path / "bin", monkeypatch, f"cp {served} .")
    other = dataclasses.replace(pin(served, "npm", "tiny"), sha256="f" * 64)

    with pytest.raises(DataError, match=r"tiny@1.0: tiny-1.0.tgz must have sha256 f{64}"):
        fetch(other, tmp_path / "cache")

    assert not list((tmp_path / "cache").iterdir())


def test_the_error_contains_the_output_of_npm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_npm(tmp_path / "bin", monkeypatch, "echo getaddrinfo ENOTFOUND >&2; exit 1")
    package = Package("npm", "tiny", "1.0", "tiny-1.0.tgz", "0" * 64, "none")

    with pytest.raises(StageError, match=r"tiny@1.0 cannot be downloaded: getaddrinfo ENOTFOUND"):
        fetch(package, tmp_path / "cache")


def test_a_missing_npm_is_a_stage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    package = Package("npm", "tiny", "1.0", "tiny-1.0.tgz", "0" * 64, "none")

    with pytest.raises(StageError, match=r"tiny@1.0 cannot be downloaded by npm"):
        fetch(package, tmp_path / "cache")
