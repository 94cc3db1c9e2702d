"""Workspaces: project folders inside a project, with its code, data and cache, but other parameters and results."""

import os
import re
import shutil
from collections.abc import Mapping
from configparser import ConfigParser
from io import StringIO
from pathlib import Path

import yaml

from polydistill.config.overrides import changed
from polydistill.config.params import PARAMS_FILE, Params, load_params, write_resolved
from polydistill.errors import MissingDataError, ParamsError
from polydistill.project.files import copy_folder, write_atomic

WORKSPACES = Path(".polydistill") / "workspaces"
FOLDERS = ("flows",)
OPTIONAL = ("src", "recipes")
"""Folders of this repository that other projects may lack."""
FILES = ("dvc.yaml", ".dvcignore", "requirements.lock", "pyproject.toml", "prefect.yaml")
DATA_FILE, LOCK_FILE = "data.dvc", "dvc.lock"
IGNORED = "__pycache__"
OF_WORKSPACE = frozenset({"data", "artifacts", "reports", "mlruns"})
"""Folders that a workspace has of its own."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


def project_of(root: Path) -> Path:
    """Return the project that a workspace belongs to; for any other folder, return the folder itself.

    Examples:
        >>> project_of(Path("/home/me/project/.polydistill/workspaces/quick")).as_posix()
        '/home/me/project'
    """
    folder = root.resolve()
    return folder.parents[2] if folder.parent.parts[-2:] == WORKSPACES.parts else folder


def make_workspace(
    root: Path, name: str, overrides: Mapping[str, object], *, own_data: bool = False
) -> Path:
    """Create or update the workspace `.polydistill/workspaces/<name>` of a project, and return its path.

    A workspace has its own parameters, lock file, artifacts, reports and registry, so that a run in it does not
    change the project. An update keeps its results. It uses the project's DVC cache and remotes. `dvc pull data.dvc`
    inside the workspace downloads its `data/`.

    Args:
        root: The project folder.
        name: Lower-case letters, digits and hyphens.
        overrides: Dotted keys of the settings and their values; see `config.overrides.override`.
        own_data: Whether `data.dvc` and `dvc.lock` are copied from the project only once. Scheduled runs can then add
            new data in the workspace without changing the project's git repository.

    Raises:
        ParamsError: A key is unknown, a value is out of bounds, or `name` is invalid.
        MissingDataError: The project has no `data.dvc`, `dvc.yaml` or sources.
    """
    if not NAME.fullmatch(name):
        raise ParamsError(
            f"A workspace's name must have lower-case letters, digits and hyphens, got {name!r}."
        )
    root = root.resolve()
    params = changed(load_params(root), overrides)
    folder = root / WORKSPACES / name
    _copy_code(root, folder)
    tree = params.model_dump(mode="json")
    _write(folder / PARAMS_FILE, yaml.safe_dump(tree, sort_keys=False).encode())
    _link_own_files(root, folder, params)
    write_resolved(folder, params)
    if not own_data:
        _point_to_data(root, folder)
    elif not (folder / DATA_FILE).exists():
        if (root / LOCK_FILE).exists():
            _write(folder / LOCK_FILE, (root / LOCK_FILE).read_bytes())
        _point_to_data(root, folder)  # last: `data.dvc` marks the copy as complete
    configure_dvc(root, folder)
    return folder


def _copy_code(root: Path, folder: Path) -> None:
    """Copy changed code and files to the workspace.

    Raises:
        MissingDataError: The project lacks a required file or folder.
    """
    for needed in (*FOLDERS, "dvc.yaml", DATA_FILE):
        if not (root / needed).exists():
            raise MissingDataError(f"No {needed} in {root}: run polydistill in a project folder.")
    for part in (*FOLDERS, *(name for name in OPTIONAL if (root / name).is_dir())):
        _mirror(root / part, folder / part)
    for file in FILES:
        if (root / file).exists():
            _write(folder / file, (root / file).read_bytes())


def _link_own_files(root: Path, folder: Path, params: Params) -> None:
    """Link the folders outside `data/` that the settings name, such as `mine` for `mine/corpus.parquet`."""
    blocks = [params.modality(name) for name in params.modalities]
    named: list[object] = [block.corpus.path for block in blocks]
    for block in blocks:
        named += [task.path for task in block.tasks.values()]
        named += block.student.options.values()
        for row in (*block.teachers.values(), *block.rivals.values()):
            named += row.options.values()
    for first in {Path(one).parts[0] for one in named if isinstance(one, str) and Path(one).parts}:
        source, link = root / first, folder / first
        is_own = first in OF_WORKSPACE or first.startswith(".") or os.path.lexists(link)
        if not is_own and os.path.exists(source):  # noqa: PTH110  it accepts a prompt, which is too long for a name
            link.symlink_to(source, target_is_directory=source.is_dir())


def _mirror(source: Path, target: Path) -> None:
    """Make `target` a copy of `source`: write changed files, and remove files that `source` lacks."""
    copy_folder(
        source,
        target,
        ignore=shutil.ignore_patterns(IGNORED),
        write=lambda file, copy: _write(Path(copy), Path(file).read_bytes()),
        dirs_exist_ok=True,
    )
    for path in sorted(target.rglob("*"), reverse=True):  # visit a folder after its content
        if (source / path.relative_to(target)).exists() or IGNORED in path.parts:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _point_to_data(root: Path, folder: Path) -> None:
    """Copy `data.dvc`, and remove data of another version, so that the next pull downloads this version."""
    changed = _write(folder / DATA_FILE, (root / DATA_FILE).read_bytes())
    if changed and (folder / "data").exists():
        shutil.rmtree(folder / "data")


def configure_dvc(root: Path, folder: Path) -> None:
    """Configure DVC in another folder with the project's settings, cache and remotes, but without git."""
    settings, home = ConfigParser(interpolation=None), root.resolve() / ".dvc"
    settings.read([home / "config", home / "config.local"], encoding="utf-8")
    cache = home / settings.get("cache", "dir", fallback="cache")
    settings.read_dict({"core": {"no_scm": "true"}, "cache": {"dir": str(cache)}})
    for name, section in settings.items():
        if name.strip("'").startswith("remote ") and "://" not in section.get("url", "://"):
            section["url"] = os.path.normpath(home / section["url"])
    text = StringIO()
    settings.write(text)
    _write(folder / ".dvc" / "config", text.getvalue().encode())


def _write(path: Path, content: bytes) -> bool:
    """Write a file atomically if its content differs; return whether it was written."""
    if path.is_file() and path.read_bytes() == content:
        return False
    write_atomic(path, content)
    return True
