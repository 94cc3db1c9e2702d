"""Small archives in the layout of the packages that data come from."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from recipes.downloads import Package


def make_tar(path: Path, members: Mapping[str, str | bytes]) -> Path:
    """Write a gzipped tar."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def make_zip(path: Path, members: Mapping[str, str | bytes]) -> Path:
    """Write a zip: a wheel, say."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def pin(path: Path, registry: Literal["npm", "pypi"], name: str, version: str = "1.0") -> Package:
    """Return the package whose file is `path`."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Package(registry, name, version, path.name, digest, "made for tests")
