"""Download pinned packages of public registries, by name, version and sha256, into a cache."""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pooch

from polydistill.errors import DataError, StageError

TIMEOUT_S = 300
NO_MATCH = "DO NOT MATCH THE HASHES"  # in pip's message about a file that is not the pinned one


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
    """Return the package's file, downloaded into `cache` if it is missing or damaged.

    pooch keeps the cache. The registry's own client downloads, so that its mirrors and proxies are used.

    Raises:
        StageError: The registry's client is missing or failed; the message includes the client's error.
        DataError: The registry's file does not have the pinned checksum.
    """
    cache.mkdir(parents=True, exist_ok=True)

    def download(_: str, output: str, __: object) -> None:
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            _download(package, Path(scratch)).replace(output)

    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(
            f"{package.registry}:{package.name}",
            known_hash=f"sha256:{package.sha256}",
            fname=package.file,
            path=cache,
            downloader=download,
        )
    except ValueError as error:
        raise DataError(
            f"{package.name} {package.version}: {package.file} must have sha256 {package.sha256}. "
            f"The file in the registry has changed since it was pinned, or was tampered with: {error}"
        ) from error
    return cache / package.file


def _download(package: Package, folder: Path) -> Path:
    """Return the file that the registry's client downloaded; the client chooses the name of a wheel.

    Raises:
        ValueError: pip found another checksum.
    """
    pinned = f"{package.name}{'@' if package.registry == 'npm' else '=='}{package.version}"
    command = _command(package, pinned, folder)
    try:
        result = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StageError(f"{pinned} cannot be downloaded: {error}.") from error
    if NO_MATCH in result.stderr:
        raise ValueError(result.stderr)
    for file in (folder / package.file, *sorted(folder.glob("*.whl"))):
        if file.exists():
            return file
    output = (result.stderr or result.stdout).strip().splitlines()[-3:]
    reason = " ".join(output) or "the client wrote no file"
    raise StageError(f"{pinned} cannot be downloaded: {reason}.")


def _command(package: Package, pinned: str, folder: Path) -> list[str]:
    """Return the command that downloads a package.

    pip checks the hash before a source package can run its `setup.py`.
    """
    client, options = "npm", ["pack", "--silent", pinned]
    if package.registry == "pypi":
        requirement = folder / "requirement.txt"
        requirement.write_text(f"{pinned} --hash=sha256:{package.sha256}\n", encoding="utf-8")
        client, options = "pip", ["download", "--quiet", "--no-deps", "--disable-pip-version-check",
                                  "--no-build-isolation", "--require-hashes", "-r", requirement.name]  # fmt: skip
        if package.file.endswith(".tar.gz"):
            options += ["--no-binary", package.name]
        else:  # the same wheel on every machine, because only its data files are read
            options += ["--only-binary", ":all:", "--python-version", "3.11",
                        "--platform", "manylinux_2_28_x86_64"]  # fmt: skip
        if importlib.util.find_spec("pip"):
            return [sys.executable, "-m", "pip", *options]
    path = shutil.which(client)
    if path is None:
        raise StageError(f"{pinned} needs the `{client}` command, which is not installed.")
    return [path, *options]
