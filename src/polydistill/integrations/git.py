"""Git, called and never imported: whose code this is, and a worktree at another commit."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from polydistill.errors import MissingDataError, StageError

CODE = ("src", "flows", "recipes")
NOT_CODE = ("__pycache__",)
NO_HOOKS = ("-c", "core.hooksPath=/dev/null")  # DVC's own would check data out there
TIMEOUT_S = 300.0


def head_commit(root: Path) -> str | None:
    """Return the commit that is checked out; None without git, repository or commit."""
    try:
        return _git(root, "rev-parse", "--verify", "HEAD^{commit}").strip()
    except StageError:
        return None


def code_differences(
    project: Path, commit: str, folders: Mapping[Path, str], places: Sequence[str] = CODE
) -> list[str]:
    """Return the files of code that are not what a commit has: changed, added or missing.

    Args:
        project: The project folder, inside the repository.
        commit: What the files should be.
        folders: Where the code lies, and which folder of the project it should be: a workspace's
            `src` is the project's `src`, an installed package is `src/polydistill`.
        places: The project's folders of code.

    Returns:
        Their paths in the project, sorted. What git ignores is no code.
    """
    committed = _committed(project, commit, places)
    different: set[str] = set()
    for folder, place in folders.items():
        files = {f"{place}/{file.relative_to(folder).as_posix()}": file for file in _files(folder)}
        known = {path: digest for path, digest in committed.items() if path.startswith(f"{place}/")}
        digests = _digests(project, files)
        different |= {path for path in known if digests.get(path) != known[path]}
        different |= _not_ignored(project, sorted(digests.keys() - known.keys()))
    return sorted(different)


def require_identity() -> None:
    """Make sure that git knows in whose name to commit.

    Raises:
        StageError: It does not, or is not installed.
    """
    try:
        _git(Path(), "var", "GIT_COMMITTER_IDENT")
    except StageError as error:
        raise StageError(
            'Git must know your name for the first commit: `git config --global user.name "Your Name"` and '
            "`git config --global user.email you@example.org`, then run this again."
        ) from error


def commit_all(folder: Path, message: str) -> None:
    """Commit everything in a repository that is not ignored.

    Raises:
        StageError: Git cannot.
    """
    _git(folder, "add", "--all")
    _git(folder, *NO_HOOKS, "commit", "--quiet", "--message", message)


def init(folder: Path) -> None:
    """Make a folder a repository.

    Raises:
        StageError: Git cannot.
    """
    _git(folder, "init", "--quiet")


def require_commit(project: Path, commit: str) -> None:
    """Make sure that this clone has a commit.

    Raises:
        MissingDataError: It has not.
    """
    try:
        _git(project, "cat-file", "-e", f"{commit}^{{commit}}")
    except StageError as error:
        raise MissingDataError(
            f"Commit {commit} is not in this clone of the repository: `git fetch --all`, then run "
            "this again."
        ) from error


def add_worktree(project: Path, commit: str, folder: Path) -> Path:
    """Check a commit out into a new folder, on no branch, and return the project folder in it.

    Raises:
        StageError: Git cannot.
    """
    prefix = _git(project, "rev-parse", "--show-prefix").strip()
    _git(project, *NO_HOOKS, "worktree", "add", "--quiet", "--detach", str(folder), commit)
    return folder / prefix


def remove_worktree(project: Path, folder: Path) -> None:
    """Remove a worktree that `add_worktree` made, with everything in it.

    Raises:
        StageError: It is none.
    """
    _git(project, "worktree", "remove", "--force", str(folder))


def _committed(project: Path, commit: str, places: Sequence[str]) -> dict[str, str]:
    """Return path: object, of the files of a commit."""
    lines = _git(project, "ls-tree", "-r", "-z", commit, "--", *places).split("\0")
    entries = (line.split("\t", 1) for line in lines if line)
    return {path: about.split()[2] for about, path in entries}


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not set(NOT_CODE) & set(path.parts):
            yield path


def _digests(project: Path, files: Mapping[str, Path]) -> dict[str, str]:
    """Return path: object that git would make of a file."""
    listed = "".join(f"{file.resolve()}\n" for file in files.values())
    found = _git(project, "hash-object", "--stdin-paths", said=listed).split()
    return dict(zip(files, found, strict=True))


def _not_ignored(project: Path, paths: Sequence[str]) -> set[str]:
    if not paths:
        return set()
    said = "".join(f"{path}\0" for path in paths)
    ignored = _git(project, "check-ignore", "-z", "--stdin", said=said, fine=(0, 1)).split("\0")
    return set(paths) - set(ignored)


def _git(root: Path, *arguments: str, said: str | None = None, fine: Sequence[int] = (0,)) -> str:
    """Return what git says.

    Raises:
        StageError: It is not installed, or ends with another exit code than those that are fine.
    """
    command = ["git", "-C", str(root), *arguments]
    try:
        result = subprocess.run(
            command, input=said, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise StageError(f"`git {arguments[0]}` did not run: {error}.") from error
    if result.returncode not in fine:
        raise StageError(f"`git {' '.join(arguments)}` failed: {result.stderr.strip()}")
    return result.stdout
