"""Finds unused files in a project folder: unfinished work, scratch folders, embeddings."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from polydistill.errors import MissingDataError, StageError
from polydistill.integrations import git
from polydistill.integrations.dvc.recovery import recover, running
from polydistill.integrations.dvc.stages import lock_entries
from polydistill.integrations.reproduction import PLACES
from polydistill.project.layout import Layout
from polydistill.project.workspace import project_of

Kind = Literal["work", "scratch", "embeddings", "run", "bundle", "version"]
EXPERIMENTS = Path(".dvc") / "tmp" / "exps" / "standalone"
"""The working folder of `dvc exp run --temp`."""
PARTS = ("corpus", "benchmark")
HOUR = 3600.0
"""The number of seconds in an hour."""


@dataclass(frozen=True)
class Garbage:
    """An unused file, folder or entry of the registry.

    Attributes:
        kind: The kind of file, folder or entry.
        what: A path in the project folder, or an id in the registry.
        why: The reason why it is unused.
        size_bytes: The disk space that it takes.
    """

    kind: Kind
    what: str
    why: str
    size_bytes: int


def find_files(root: Path, modality: str, older_than_h: float) -> list[Garbage]:
    """List the unused files and folders of a modality.

    Files that were written in the last `older_than_h` hours or that `dvc.lock` names are not listed. The list is
    empty while a stage is running.
    """
    recover(root)
    if running(root):
        return []
    found = [*_work(root, modality), *_scratch(root), *_embeddings(root, modality)]
    limit = time.time() - older_than_h * HOUR
    return [one for one in found if newest(root / one.what) <= limit]


def remove_files(root: Path, garbage: Garbage) -> None:
    """Remove a file or folder that `find_files` has listed."""
    path = root / garbage.what
    if path.parent == root / PLACES:
        try:
            git.remove_worktree(project_of(root), path)
        except StageError:  # no longer a worktree
            shutil.rmtree(path)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def size_of(path: Path) -> int:
    """Return the size in bytes of a file, or of all files below a folder; links are not followed."""
    return sum(file.lstat().st_size for file in _below(path) if not file.is_dir())


def newest(path: Path) -> float:
    """Return the time of the last change in a file or folder, in seconds since 1970."""
    return max(file.lstat().st_mtime for file in _below(path))


def _below(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        yield from path.rglob("*")


def _garbage(root: Path, kind: Kind, path: Path, why: str) -> Garbage:
    return Garbage(kind, path.relative_to(root).as_posix(), why, size_of(path))


def _work(root: Path, modality: str) -> Iterator[Garbage]:
    """Yield unfinished work of stages that were interrupted or ran with other settings."""
    why = "unfinished work: a stage with these settings and inputs would resume it"
    for path in sorted(Layout(root, modality).scratch.glob("work/*/*")):
        of_modality = path.name == modality or path.name.startswith(f"{modality}-")
        if of_modality and size_of(path):
            yield _garbage(root, "work", path, why)


def _scratch(root: Path) -> Iterator[Garbage]:
    for path in sorted((root / PLACES).glob("*")):
        pid = path.name.rpartition("-")[2]
        if not (pid.isdigit() and psutil.pid_exists(int(pid))):
            yield _garbage(root, "scratch", path, "a reproduction that was kept or has failed")
    for path in sorted((root / EXPERIMENTS).glob("*")):
        yield _garbage(root, "scratch", path, "a `dvc exp run --temp` that has ended")
    for path in sorted((root / "mlruns" / "artifacts").rglob(".artifact.uploading.*")):
        yield _garbage(root, "scratch", path, "an upload to MLflow that was interrupted")


def _embeddings(root: Path, modality: str) -> Iterator[Garbage]:
    """Yield embeddings that `dvc.lock` does not name, and folders left by an interrupted swap."""
    try:
        entries = lock_entries(root, modality)
    except MissingDataError:  # the used embeddings are unknown
        return
    named = {row["path"] for entry in entries.values() for row in entry.get("outs", ())}
    for part in PARTS:
        for path in sorted((Layout(root, modality).artifacts / "embeddings" / part).glob("*")):
            if path.name.startswith("."):
                yield _garbage(root, "embeddings", path, "left by an interrupted swap")
            elif path.relative_to(root).as_posix() not in named:
                yield _garbage(root, "embeddings", path, "not an output of a stage in dvc.lock")
