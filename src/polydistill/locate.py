"""Where weights and vocabularies lie: in an installed package, in a folder, or on a hub by revision."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import sys
from pathlib import Path

from polydistill.errors import MissingDataError, MissingExtraError, ParamsError

PACKAGE = "package:"
_FULL_REVISION = re.compile(r"[0-9a-f]{40}")


def locate(source: str, *, revision: str | None = None) -> Path:
    """Return the local path of `source`.

    Args:
        source: `package:<folder>/<path>`, found under site-packages without importing anything; a
            file or folder; or, when `revision` is given, the name of a repository on the Hugging Face hub.
        revision: The full commit of the repository, 40 hexadecimal digits. Only then may the hub be asked,
            and only for what its cache does not hold.

    Raises:
        MissingDataError: There is no such file, folder, package or repository.
        ParamsError: `revision` is a branch or a short hash: it could change under our feet.
    """
    if revision is not None:
        return _snapshot(source, revision)
    if source.startswith(PACKAGE):
        return _in_package(source)
    path = Path(source)
    if not path.exists():
        raise MissingDataError(
            f"No file or folder {source!r}. A hub name needs `revision: <full commit>` beside it; "
            f"a file of an installed package is written {PACKAGE}<folder>/<path>."
        )
    return path


def _in_package(source: str) -> Path:
    """Look below each folder of the import path."""
    relative = source.removeprefix(PACKAGE)
    for folder in sys.path:
        path = Path(folder) / relative
        if folder and path.exists():
            return path
    package = relative.split("/")[0]
    raise MissingDataError(
        f"No {relative!r} in any installed package: install the one that holds {package!r} "
        'with pip install "polydistill[text-teachers]".'
    )


def package_version(package: str) -> str:
    """Return the version of an installed distribution whose code makes the embeddings.

    Raises:
        MissingDataError: It is not installed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise MissingDataError(
            f'No package {package!r}: pip install "polydistill[text-teachers]".'
        ) from None


def _snapshot(repository: str, revision: str) -> Path:
    """Bring one commit of a hub repository into the local cache."""
    if not _FULL_REVISION.fullmatch(revision):
        raise ParamsError(
            f"`revision` of {repository!r} must be a full commit of 40 hexadecimal digits, "
            f"got {revision!r}: a branch can change under our feet."
        )
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingExtraError(f"The hub model {repository!r}", "text") from error
    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model", "*.onnx"],
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise MissingDataError(
            f"{repository!r} at revision {revision} is neither in the cache nor on the hub: {error}"
        ) from error


def weights_sha256(path: Path) -> str:
    """Return the sha256 of a file, or of every weight and setting in a folder, by name.

    Examples:
        >>> weights_sha256(Path("no-such-folder"))
        Traceback (most recent call last):
        ...
        polydistill.errors.MissingDataError: No file or folder no-such-folder.
    """
    if not path.exists():
        raise MissingDataError(f"No file or folder {path}.")
    total = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.suffix in {
            ".safetensors",
            ".onnx",
            ".json",
            ".txt",
            ".model",
            ".npy",
            ".npz",
            ".parquet",
            ".bin",
        }:
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            total.update(f"{file.name} {digest}\n".encode())
    return total.hexdigest()
